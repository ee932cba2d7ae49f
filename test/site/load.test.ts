/** Simulated agents with the real heartbeat, some of them without UDP, and a server that is killed. */

import { setTimeout as sleep } from "node:timers/promises";
import test from "ava";
import type { Job, Task } from "#protocol/job.ts";
import { createCleanup } from "../../scripts/lab/cleanup.ts";
import { type LoadWorld, startLoadWorld } from "../../scripts/lab/load-world.ts";

const nodes = 200;
const blocked = 20;
/** The first ones, whose connections a kill of the server breaks. */
const isBlocked = (lost: string) => Number(/^agent (\d+): /.exec(lost)?.[1]) < blocked;

/** How the job ended. */
async function outcome({ api, agents }: LoadWorld, job: Job): Promise<string> {
  await agents.assigned(job);
  for (;;) {
    const { state, tasks } = await api.get<Job & { tasks: readonly Task[] }>(
      `/api/v1/jobs/${job.id}`,
    );
    if (state === "done") return state;
    if (state !== "queued" && state !== "running") return JSON.stringify(tasks);
    await sleep(100);
  }
}

test("agents are called without a connection, and do not notice a kill of the server", async (t) => {
  const cleanup = createCleanup((line) => t.log(line));
  t.teardown(() => cleanup.run());
  const world = await startLoadWorld({ nodes, blocked, say: (line) => t.log(line) }, cleanup);
  t.is(await world.online(), nodes);
  for (const name of [world.names[0] ?? "", world.names[nodes - 1] ?? ""]) {
    t.is(await outcome(world, await world.reboot(name)), "done");
  }
  t.deepEqual(world.agents.lost, []);

  // on a busy machine a beat may be answered too late: its agent asks by a connection, and beats again
  while (world.connections() > blocked) await sleep(200);
  await world.restart();
  t.is(await outcome(world, await world.reboot("all")), "done");
  t.deepEqual(
    world.agents.lost.filter((line) => !isBlocked(line)),
    [],
    "who beats had nothing to lose",
  );
  await world.stop();
});
