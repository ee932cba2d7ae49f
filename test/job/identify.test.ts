import test from "ava";
import { createRig } from "./rig.ts";

const identify = { kind: "identify", parameters: { seconds: 20 } } as const;

async function asked() {
  const rig = await createRig();
  await rig.checkIn("resident", "disk-1");
  await rig.create(identify);
  return rig;
}

test("a node shows which it is, and says when it has; nothing of it changes", async (t) => {
  const rig = await asked();
  const before = rig.node;
  t.like(rig.order(), { action: "identify", seconds: 20, name: "lab-a-1", epoch: 1 });
  await rig.report({ status: "running", stage: "showing", percent: 50, bootId: "disk-1" });
  t.like(rig.task(), { state: "running", stage: "showing", percent: 50 });
  await rig.report({ status: "done", stage: "showing", percent: 100, bootId: "disk-1" });
  t.is(rig.task().state, "done");
  t.deepEqual(
    [rig.node.state, rig.node.power, rig.node.connection],
    [before.state, before.power, before.connection],
  );
});

test("a server that restarts meanwhile waits for the same attempt", async (t) => {
  const before = await asked();
  await before.report({ status: "running", stage: "showing", percent: 50, bootId: "disk-1" });
  await before.jobs.close();
  const rig = await before.restart();
  t.like(rig.order(), { action: "identify", epoch: 1 });
  await rig.report({ status: "done", stage: "showing", percent: 100, bootId: "disk-1" });
  t.is(rig.task().state, "done");
});

test("a cancelled one is told to stop by the answer to its next report", async (t) => {
  const rig = await asked();
  rig.jobs.cancel(rig.task().jobId, "ada");
  t.deepEqual(
    await rig.report({ status: "running", stage: "showing", percent: 50, bootId: "disk-1" }),
    { cancelled: true },
  );
});

test("a node that restarts meanwhile, or says nothing, has failed, once", async (t) => {
  const restarted = await asked();
  await restarted.checkIn("resident", "disk-2");
  t.like(restarted.task(), { state: "failed", reason: "the node restarted meanwhile" });
  const silent = await asked();
  await silent.live(90, "resident", "disk-1");
  t.like(silent.task(), { state: "failed", reason: "no word of it within 80 s", epoch: 1 });
});

test("nobody can show it on a node that is offline", async (t) => {
  const rig = await createRig();
  await rig.create(identify);
  t.like(rig.task(), { state: "failed", reason: "lab-a-1 is offline: no agent there can obey" });
});
