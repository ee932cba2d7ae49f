/**
 * D44: a server that works for its nodes is backed up by another process, is lost, and comes back
 * from the backup: its nodes know it again by its keys, and what was under way is not begun anew.
 */

import { execFile } from "node:child_process";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import test from "ava";
import type { Job, Task } from "#protocol/job.ts";
import { createCleanup } from "../../scripts/lab/cleanup.ts";
import { type LoadWorld, startLoadWorld } from "../../scripts/lab/load-world.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const nodes = 30;
const main = new URL("../../server/cli/main.ts", import.meta.url).pathname;
/** Half a day away from now, whenever the test runs: what waits for it must still wait. */
const farHour = String((new Date().getUTCHours() + 12) % 24).padStart(2, "0");
const far = { effect: "allows", opens: `daily ${farHour}:00`, minutes: 60, zone: "UTC" };

async function marcoboot(...words: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [main, ...words]);
  return stdout;
}

const jobOf = ({ api }: LoadWorld, { id }: Job) =>
  api.get<Job & { tasks: readonly Task[] }>(`/api/v1/jobs/${id}`);

async function ended(world: LoadWorld, job: Job) {
  for (;;) {
    const found = await jobOf(world, job);
    if (found.state === "done" || found.state === "failed") return found;
    await sleep(100);
  }
}

test("D44: a server restored from a backup has its nodes again, and repeats nothing", async (t) => {
  const directory = temporaryDirectory(t);
  const [backup, keys] = [join(directory, "rack.backup"), join(directory, "rack.keys")];
  const cleanup = createCleanup((line) => t.log(line));
  t.teardown(() => cleanup.run());
  const world = await startLoadWorld({ nodes, blocked: 3, say: (line) => t.log(line) }, cleanup);
  const { api, stateDirectory: state } = world;
  await api.send("PUT", "/api/v1/windows/before", far);
  const waiting = await api.send<Job>("POST", "/api/v1/jobs", {
    ...{
      kind: "reboot",
      selector: "all",
      parameters: { warnSeconds: 0 },
      when: { window: "before" },
    },
  });
  await world.reboot(world.names[0] ?? "");
  await Promise.all([
    marcoboot("backup", "keys", keys, "--state", state),
    marcoboot("backup", "create", backup, "--state", state),
    world.reboot("all").then((job) => ended(world, job)),
  ]);
  await api.send("PUT", "/api/v1/windows/after", far);
  t.regex(await marcoboot("backup", "show", backup), /^server\.yaml\t/m, "its settings are in it");

  await world.restart(async () => {
    await rename(state, `${state}.lost`);
    await marcoboot("backup", "restore", backup, "--keys", keys, "--state", state);
  });
  const { items } = await api.get<{ items: readonly { name: string }[] }>("/api/v1/windows");
  t.deepEqual(
    items.map(({ name }) => name),
    ["before"],
  );
  const { state: outcome, tasks } = await jobOf(world, waiting);
  t.is(outcome, "failed");
  t.true(tasks.every(({ reason }) => /restored from a backup/.test(reason ?? "")));
  while ((await world.online()) < nodes) await sleep(200);
  const again = await ended(world, await world.reboot("all"));
  t.deepEqual(
    [...new Set(again.tasks.map((task) => `${task.state} ${task.reason}`))],
    ["done undefined"],
  );
  await world.stop();
});
