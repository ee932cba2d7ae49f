/** README's sections on planned work, word for word: what each command asks of the server. */

import { readFileSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import { image, startTestServer, tokens } from "../http/support.ts";
import { run } from "./support.ts";

const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");

/** Each command of the section's first block as the shell's words, without `marcoboot`. */
function commandsOf(heading: string): readonly (readonly string[])[] {
  const section = readme.split(/^### /m).find((one) => one.startsWith(`${heading}\n`)) ?? "";
  const [, block = ""] = /^```sh\n(.*?)^```/ms.exec(section) ?? [];
  return block
    .replaceAll("\\\n", " ")
    .split("\n")
    .map((line) => line.replace(/ +#.*$/, ""))
    .filter((line) => line.startsWith("marcoboot "))
    .map((line) => [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare))
    .map(([, ...words]) => words as string[]);
}

/** @returns the server, and what each command printed. */
async function follow(t: ExecutionContext, heading: string) {
  const server = await startTestServer();
  t.teardown(server.close);
  server.store.images.put({ ...image, name: "debian" });
  const outputs: string[] = [];
  for (const words of commandsOf(heading)) {
    const newest = server.store.jobs.list({ limit: 1 })[0]?.id ?? "";
    const filled = words.map((word) => word.replace("job_…", newest));
    const { code, out, err } = await run(filled, server, { token: tokens.admin });
    t.is(code, 0, `${filled.join(" ")}: ${err}`);
    outputs.push(out);
  }
  return { server, outputs };
}

test("a rack is reimaged tonight: planned, asked for, one node left out, what failed again", async (t) => {
  const { server, outputs } = await follow(t, "Reimage a rack tonight");
  t.regex(outputs[0] ?? "", / 02:00 CES?T\t/);
  t.deepEqual(server.calls.slice(0, 1), ["create install 8"], "a dry run makes no job");
  t.like(server.store.jobs.list({ limit: 9 }).at(-1), {
    kind: "install",
    window: "night",
    rollout: { canary: 2, batch: "25%", settleSeconds: 60, failures: 2 },
  });
  t.is(server.calls.filter((call) => call.startsWith("cancel task_")).length, 1);
  t.is(server.calls.filter((call) => call.startsWith("retry job_")).length, 1);
});

test("every node reboots each week, but not in the holidays", async (t) => {
  const { server } = await follow(t, "Reboot every week");
  t.like(server.store.schedules.get("weekly"), {
    kind: "reboot",
    at: "sat 04:00",
    zone: "Europe/Madrid",
    parameters: { warnSeconds: 300 },
    rollout: { perStack: 1 },
  });
  t.like(server.store.windows.get("holidays"), { effect: "forbids", minutes: 20_160 });
});

test("a rack is shut down at once, whatever windows say", async (t) => {
  const { server } = await follow(t, "Emergency shutdown");
  t.deepEqual(server.calls, ["create shutdown 8"]);
  const [job] = server.store.jobs.list({ limit: 1 });
  t.like(job, { kind: "shutdown", why: "fire alarm" });
  t.is(job?.window, undefined);
});
