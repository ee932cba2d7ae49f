/** Programs that the resident agent runs. */

import { readFileSync } from "node:fs";
import test from "ava";
import { runProgram } from "../../netinst/steps/run.ts";
import { until } from "../support/until.ts";

const never = new AbortController().signal;

async function ran(argv: readonly string[], timeoutSeconds = 60, signal = never) {
  const lines: string[] = [];
  const reason = await runProgram({ argv, timeoutSeconds }, (line) => lines.push(line), signal);
  return { lines, reason };
}

test("its arguments arrive as they are, its lines come back", async (t) => {
  const nasty = ["$(id)", "a b", "'", ";"];
  t.deepEqual(await ran(["printf", "%s\n", ...nasty]), { lines: nasty, reason: undefined });
});

test("why it failed is told with its status and last line", async (t) => {
  t.is(
    (await ran(["sh", "-c", "echo no mirror >&2; exit 100"])).reason,
    "exit status 100: no mirror",
  );
  t.is((await ran(["false"])).reason, "exit status 1");
  t.is((await ran(["sh", "-c", "kill -TERM $$"])).reason, "signal SIGTERM");
  t.is((await ran(["no-such-program"])).reason, "no program no-such-program");
});

test("its time is over, or it is cancelled: it ends with all that it started", async (t) => {
  const late = await ran(["sh", "-c", "sleep 300 & echo $!; wait"], 1);
  t.is(late.reason, "it was ended after 1 s");
  await until(() => !isAlive(Number(late.lines[0])));

  const stop = new AbortController();
  const lines: string[] = [];
  const argv = ["sh", "-c", "sleep 300 & echo $!; wait"];
  await runProgram(
    { argv, timeoutSeconds: 60 },
    (line) => {
      lines.push(line);
      stop.abort();
    },
    stop.signal,
  );
  await until(() => !isAlive(Number(lines[0])));
  t.is(lines.length, 1);
});

test("it sees neither the agent's environment nor its input", async (t) => {
  process.env["MARCOBOOT_CANARY"] = "secret";
  t.teardown(() => {
    delete process.env["MARCOBOOT_CANARY"];
  });
  const { lines } = await ran(["env"]);
  t.false(lines.join("\n").includes("secret"));
  t.deepEqual(await ran(["cat"]), { lines: [], reason: undefined });
});

/** A child of a child that ended is a zombie until init takes it: that is not alive. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readStatus(pid));
  } catch {
    return false;
  }
}

function readStatus(pid: number): string {
  return readFileSync(`/proc/${pid}/status`, "utf8");
}
