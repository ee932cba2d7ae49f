/**
 * D41: a server that stands still in the middle of a job, as one whose machine is suspended. Nobody takes
 * its place, nothing is begun twice, and what comes too late is refused and counted. Root is needed.
 * `MARCOBOOT_STANDSTILL_SECONDS=60` for longer than Bull waits for a worker (30 s) and nodes are waited for (45 s).
 */

import { execFile, execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import test from "ava";
import type { Job, Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { createCleanup } from "../../scripts/lab/cleanup.ts";
import { type LoadWorld, startLoadWorld } from "../../scripts/lab/load-world.ts";

const nodes = 20;
const standstillSeconds = Number(process.env["MARCOBOOT_STANDSTILL_SECONDS"] ?? 12);
const main = new URL("../../server/cli/main.ts", import.meta.url).pathname;

const jobOf = ({ api }: LoadWorld, { id }: Job) =>
  api.get<Job & { tasks: readonly Task[] }>(`/api/v1/jobs/${id}`);

async function ended(world: LoadWorld, job: Job): Promise<readonly Task[]> {
  for (;;) {
    const { state, tasks } = await jobOf(world, job);
    if (state !== "queued" && state !== "running") return tasks;
    await sleep(100);
  }
}

/** How it ended and what it said. */
function startSecond(config: string): Promise<{ code: unknown; said: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, "serve", "--config", config], (error, stdout, stderr) =>
      resolve({ code: error?.code, said: stdout + stderr }),
    );
  });
}

/** What must stay as it is: the lease file and the process of Redis. */
const trace = (state: string) =>
  [statSync(join(state, "leases")).ino, readFileSync(join(state, "redis/redis.pid"), "utf8")].join(
    " ",
  );

function superseded({ api, stateDirectory }: LoadWorld, what: string): number {
  const text = execFileSync("curl", [
    ...["-s", "--unix-socket", join(stateDirectory, "admin.sock")],
    ...["-H", `Authorization: Bearer ${api.token}`, "http://localhost/metrics"],
  ]).toString();
  const found = new RegExp(`^marcoboot_superseded_total\\{what="${what}"\\} (\\d+)$`, "m").exec(
    text,
  );
  return Number(found?.[1]);
}

test(`D41: a server that stands still for ${standstillSeconds} s is not replaced, repeats nothing, and refuses what is late`, async (t) => {
  const cleanup = createCleanup((line) => t.log(line));
  t.teardown(() => cleanup.run());
  const world = await startLoadWorld({ nodes, blocked: 3, say: (line) => t.log(line) }, cleanup);
  const { stateDirectory: state, api } = world;
  const before = trace(state);
  const alarms: string[] = [];
  const unfollow = api.follow(
    0,
    ({ event }) => void (event.topic === "alarm" && alarms.push(event.text)),
  );
  t.teardown(unfollow);

  const job = await world.reboot("all");
  const stopped = world.pid();
  process.kill(stopped, "SIGSTOP");
  const [second] = await Promise.all([
    startSecond(join(dirname(state), "marcoboot.yaml")),
    sleep(1000 * standstillSeconds),
  ]);
  t.is(second.code, 1);
  t.regex(
    second.said,
    new RegExp(`^error: another server \\(process ${stopped}\\) works in ${state}`, "m"),
  );
  t.is(trace(state), before);
  process.kill(stopped, "SIGCONT");

  const tasks = await ended(world, job);
  t.deepEqual(
    [...new Set(tasks.map((task) => `${task.state} in attempt ${task.epoch}`))],
    ["done in attempt 1"],
  );
  while ((await world.online()) < nodes) await sleep(200);
  const { items } = await api.get<{ items: readonly Node[] }>("/api/v1/nodes");
  t.deepEqual(
    [...new Set(items.map(({ agent }) => agent?.bootId))],
    ["boot-2"],
    "restarted once each",
  );
  while (alarms.length === 0) await sleep(100);
  t.regex(alarms.join(), /the server stood still for \d+ s/);

  const [task] = tasks;
  const name = items.find(({ id }) => id === task?.nodeId)?.name ?? "";
  const zombie = { taskId: task?.id, epoch: 1, bootId: "boot-1", stage: "requested", percent: 0 };
  const answer = world.sayAs(name, "/agent/v1/report", {
    ...zombie,
    status: "failed",
    reason: "late",
  });
  t.regex(answer, /^409 .*attempt-superseded/);
  t.is((await jobOf(world, job)).state, "done");
  t.true(superseded(world, "report") >= 1);
  await world.stop();
});
