import test from "ava";
import type { Job } from "#protocol/job.ts";
import { checkInstalled, imageNameFor, untilDone } from "../../scripts/demo/scenario.ts";
import { oneReadyNode } from "./laboratory.ts";

const minute = 60_000;

test("kill -9 of the server while a UEFI node unpacks a root file system: after a restart the same job ends installed", async (t) => {
  t.timeout(20 * minute);
  const { scenario, node } = await oneReadyNode(t, "uefi-x64", "rootfs-tar");
  const { rack, world } = scenario;
  const parameters = { image: imageNameFor(node.guest.firmware), authorizedKeys: [] };
  const job = await rack.api.send<Job>("POST", "/api/v1/jobs", {
    ...{ kind: "install", selector: node.hostname, parameters },
  });
  const writing = await world.until("half written", 10 * minute, () =>
    [...world.tasks.values()].find(
      (task) => task.jobId === job.id && task.stage === "writing" && task.percent >= 30,
    ),
  );
  await rack.killAndRestartServer();

  const after = await rack.api.get<Job>(`/api/v1/jobs/${job.id}`);
  t.is(after.id, job.id, "the acknowledged job is still there");
  t.is(after.state, "running");
  await untilDone(scenario, job, [node], 20 * minute);
  checkInstalled(scenario, node);
  const task = [...world.tasks.values()].find((one) => one.jobId === job.id);
  t.is(task?.id, writing.id);
  t.is(task?.epoch, writing.epoch, "the attempt went on; no second one was begun");
});
