/** A roll-out on a real server, whose nodes are asked how they are over a real network. */

import { setTimeout as sleep } from "node:timers/promises";
import test from "ava";
import type { Job, Task } from "#protocol/job.ts";
import { patiently } from "../../scripts/lab/api.ts";
import { createCleanup } from "../../scripts/lab/cleanup.ts";
import { startLoadWorld } from "../../scripts/lab/load-world.ts";

test("a canary whose port is shut stops the roll-out though the server is killed; the rest is untouched", async (t) => {
  const cleanup = createCleanup((line) => t.log(line));
  t.teardown(() => cleanup.run());
  const say = (line: string) => t.log(line);
  const world = await startLoadWorld({ nodes: 4, blocked: 0, say }, cleanup);
  const { api } = world;
  const made = await api.send<Job>("POST", "/api/v1/jobs", {
    ...{ kind: "reboot", selector: "all", parameters: { warnSeconds: 0 } },
    rollout: { canary: 1, failures: 3, settleSeconds: 2, health: ["online", "port:22"] },
  });
  const look = () =>
    patiently(() => api.get<Job & { tasks: readonly Task[] }>(`/api/v1/jobs/${made.id}`));
  while ((await look()).tasks[0]?.state !== "done") await sleep(50);
  await world.restart();
  let job = await look();
  for (; !job.paused; job = await look()) await sleep(100);
  t.like(job.paused, { by: "server", reason: "1 of 1 canary nodes failed" });
  t.deepEqual(
    job.tasks.map(({ state, epoch }) => `${state} ${epoch}`),
    ["failed 1", "waiting 0", "waiting 0", "waiting 0"],
  );
  t.regex(
    job.tasks[0]?.reason ?? "",
    /^done, but then not healthy: port:22 of .*: connection refused$/,
  );
  await world.stop();
});
