import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { createLogDestination } from "../server/log-destination.ts";

class SystemError extends Error {
  readonly code: string;
  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

/** A standard error that takes so many octets at once while its disk has room. */
function fakeStream(most = 1000) {
  const taken: string[] = [];
  const state = { fault: undefined as string | undefined, faults: 0 };
  const destination = createLogDestination((octets) => {
    if (state.fault) {
      state.faults += 1;
      throw new SystemError(state.fault);
    }
    const part = octets.subarray(0, most);
    taken.push(part.toString());
    return part.length;
  });
  return { destination, state, text: () => taken.join("") };
}

test("lines arrive whole, though the stream takes them in parts", (t) => {
  const { destination, text } = fakeStream(3);
  destination.write("first line\n");
  destination.write("second\n");
  t.is(text(), "first line\nsecond\n");
});

test("D42: lines that a full disk does not take are counted, and told when it has room again", (t) => {
  const { destination, state, text } = fakeStream();
  state.fault = "ENOSPC";
  destination.write("one\n");
  destination.write("two\n");
  state.fault = undefined;
  destination.write("three\n");
  destination.write("four\n");
  const lines = text().split("\n").filter(Boolean);
  t.like(JSON.parse(lines[0] ?? ""), { lost: 2, msg: "log lines were lost" });
  t.deepEqual(lines.slice(1), ["three", "four"]);
});

test("a reader that does not read is waited for once, then no more", (t) => {
  const { destination, state } = fakeStream();
  state.fault = "EAGAIN";
  destination.write("one\n");
  const first = state.faults;
  t.true(first > 1);
  destination.write("two\n");
  t.is(state.faults, first + 1);
});

test("D42: a process whose log has no room works on and ends as it means to", async (t) => {
  const full = openSync("/dev/full", "w");
  const program = `
    const { createLog } = await import(${JSON.stringify(join(import.meta.dirname, "../server/log.ts"))});
    const log = createLog("info");
    log.info("lost");
    setTimeout(() => { log.info("lost, too"); console.log("worked on"); process.exitCode = 7; }, 10);
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", full],
  });
  closeSync(full);
  let output = "";
  child.stdout?.on("data", (text) => {
    output += text;
  });
  const [code] = await once(child, "close");
  t.is(output, "worked on\n");
  t.is(code, 7);
});
