/** Power programs of a server that was killed: a process of its own here, which runs one and then stays. */

import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { milliseconds } from "#protocol/brand.ts";
import { systemClock } from "../../server/clock.ts";
import { silentLog as log } from "../../server/log.ts";
import { endOrphans } from "../../server/power/orphans.ts";
import { temporaryDirectory } from "../support/temporary.ts";

/** Says who it is, and so does what it starts: in its group without its environment, and in a session of its own. */
const slowOff = (directory: string) => `#!/bin/sh
cd ${directory}
env -i /bin/sh -c 'echo $$ > bare; exec sleep 60' &
setsid /bin/sh -c 'echo $$ > apart; exec sleep 60' &
echo $$ > program
wait
echo off > state
`;

const server = (program: string, options: string) => `
  import { runProgram } from ${JSON.stringify(join(import.meta.dirname, "../../server/power/program.ts"))};
  await runProgram(${JSON.stringify(program)}, [], ${options}, new AbortController().signal);
`;

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await systemClock.sleep(milliseconds(10));
}

interface Running {
  readonly server: ChildProcess;
  /** Process ids of the program and all it started. */
  readonly pids: readonly number[];
}

async function startServer(t: ExecutionContext, options = "{}"): Promise<Running> {
  const directory = temporaryDirectory(t);
  const program = join(directory, "slow-off");
  writeFileSync(program, slowOff(directory));
  chmodSync(program, 0o755);
  const code = ["--input-type=module", "--eval", server(program, options)];
  const child = spawn(process.execPath, code, { stdio: ["ignore", "inherit", "inherit"] });
  t.teardown(() => child.kill("SIGKILL"));
  const files = ["program", "bare", "apart"].map((name) => join(directory, name));
  const textOf = (file: string) => (existsSync(file) ? readFileSync(file, "utf8") : "");
  await until(() => files.every((file) => textOf(file).endsWith("\n")));
  const pids = files.map((file) => Number(textOf(file)));
  t.teardown(() => {
    for (const pid of pids.filter(runs)) process.kill(pid, "SIGKILL");
  });
  return { server: child, pids };
}

function runs(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8") !== ""; // empty: it has ended
  } catch {
    return false; // no such process
  }
}

async function kill({ server: child }: Running): Promise<void> {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}

// One after the other: each ends the orphans of the whole machine.
test.serial("the program of a server that was killed is ended with all it started", async (t) => {
  const running = await startServer(t);
  await kill(running);
  await endOrphans({ clock: systemClock, log });
  t.deepEqual(running.pids.filter(runs), []);
});

test.serial("the program of a server that runs goes on", async (t) => {
  const running = await startServer(t);
  await endOrphans({ clock: systemClock, log });
  t.deepEqual(running.pids.filter(runs), running.pids);
});

test.serial("what is to outlive its server stays", async (t) => {
  const running = await startServer(t, "{ outlives: true }");
  await kill(running);
  await endOrphans({ clock: systemClock, log });
  t.deepEqual(running.pids.filter(runs), running.pids);
});
