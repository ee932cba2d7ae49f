/** D41: of two servers in one state directory the second is told who is there; a dead one holds nothing. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import test from "ava";
import { milliseconds } from "#protocol/brand.ts";
import { systemClock } from "../../server/clock.ts";
import { lockState } from "../../server/store/state-lock.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const holder = `
  const { lockState } = await import(process.argv[1]);
  const { systemClock } = await import(process.argv[2]);
  await lockState(process.argv[3], systemClock);
  console.log("locked");
  setInterval(() => undefined, 1000);
`;
const pathOf = (name: string) => new URL(`../../server/${name}`, import.meta.url).href;
const lock = (directory: string, patience: number) =>
  lockState(directory, systemClock, milliseconds(patience));

test("D41: a process that stands still keeps the directory; one that was killed does not", async (t) => {
  const directory = temporaryDirectory(t);
  const words = ["store/state-lock.ts", "clock.ts"].map(pathOf);
  const other = spawn(process.execPath, ["--input-type=module", "-e", holder, ...words, directory]);
  t.teardown(() => other.kill("SIGKILL"));
  await once(other.stdout, "data");
  other.kill("SIGSTOP");
  await t.throwsAsync(lock(directory, 100), {
    name: "ConflictError",
    message: `another server (process ${other.pid}) works in ${directory}: end it first, or use another stateDirectory`,
  });
  const free = lock(directory, 60_000);
  other.kill("SIGKILL");
  (await free)();
  t.pass();
});

test("a lock that was given back is free, also for the process that had it", async (t) => {
  const directory = temporaryDirectory(t);
  (await lock(directory, 0))();
  const giveBack = await lock(directory, 0);
  await t.throwsAsync(lock(directory, 0), { message: new RegExp(`process ${process.pid}\\)`) });
  giveBack();
});
