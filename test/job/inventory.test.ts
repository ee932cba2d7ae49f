import test from "ava";
import type { Hardware } from "#protocol/node.ts";
import { createRig, digest, installRequest } from "./rig.ts";

const hardware: Hardware = {
  model: "virtual",
  cpus: 1,
  memoryMiB: 512,
  disks: [{ name: "vda", sizeBytes: 64e9, serial: "D1", removable: false }],
  interfaces: [],
};
const inventory = { kind: "inventory", parameters: {} } as const;
const burnIn = { kind: "burn-in", parameters: { seconds: 60, writeDisks: false } } as const;
const good = { seconds: 60, results: [{ part: "memory", passed: true, text: "96 MiB" }] };

test("an inventory is done when the agent has told, and what is lost is an alarm", async (t) => {
  const rig = await createRig();
  await rig.checkIn("resident", "disk-1");
  await rig.create(inventory);
  t.like(rig.order(), { action: "inventory", epoch: 1 });
  await rig.report({ bootId: "disk-1", stage: "reading-hardware", status: "done", hardware });
  t.is(rig.task().state, "done");
  t.deepEqual(rig.node.hardware, hardware);
  const [row] = rig.store.audit.list({ limit: 9 });
  t.like(row, {
    what: "node hardware changed",
    detail: "memory: 1024 MiB before, 512 MiB now; disk vda (D1, 64.0 GB) is new",
  });
});

test("an inventory of a node that is offline is refused", async (t) => {
  const rig = await createRig();
  await rig.create(inventory);
  t.like(rig.task(), {
    state: "failed",
    reason: "lab-a-1 is offline: no agent there can obey",
  });
});

test("a restart of the server neither loses an inventory nor orders another", async (t) => {
  const rig = await createRig();
  await rig.checkIn("resident", "disk-1");
  await rig.create(inventory);
  const again = await rig.restart();
  t.like(again.order(), { action: "inventory", epoch: 1 });
  await again.report({ bootId: "disk-1", stage: "reading-hardware", status: "done", hardware });
  t.is(again.task().state, "done");
});

test("a burn-in brings the node into netinst, and keeps its results", async (t) => {
  const rig = await createRig("off");
  await rig.create(burnIn);
  t.deepEqual(rig.verbs, ["window power-on", "on a1"]);
  await rig.checkIn("netinst", "netinst-1");
  t.like(rig.order(), { action: "burn-in", seconds: 60, writeDisks: false });
  await rig.report({ stage: "testing", percent: 50 });
  await rig.report({ stage: "testing", status: "done", burnIn: good });
  t.is(rig.task().state, "done");
  await rig.checkIn("netinst", "netinst-1");
  t.like(rig.node, { state: "ready", burnIn: { ...good, at: rig.clock.now() } });
});

test("a node that failed its burn-in and passes another is ready again", async (t) => {
  const rig = await createRig();
  await rig.checkIn("netinst", "netinst-1");
  await rig.create(burnIn);
  const bad = { seconds: 60, results: [{ part: "cpu", passed: false, text: "wrong" }] };
  const failure = { status: "failed", reason: "cpu: wrong", retryable: false } as const;
  await rig.report({ stage: "testing", ...failure, burnIn: bad });
  t.like(rig.node, { state: "failed", reason: "burn-in: cpu: wrong", burnIn: bad });
  await rig.create(burnIn);
  await rig.report({ stage: "testing", status: "done", burnIn: good });
  await rig.checkIn("netinst", "netinst-1");
  t.like(rig.node, { state: "ready", burnIn: good });
  t.is(rig.node.reason, undefined);
});

test("a node with an installed system is not tested", async (t) => {
  const rig = await createRig();
  rig.nodes.update(rig.node.id, { state: "installed", image: digest });
  await rig.create(burnIn);
  t.regex(rig.task().reason ?? "", /^lab-a-1 has an installed system/);
});

test("an install keeps which disk it is on; the disk is known again by that", async (t) => {
  const rig = await createRig();
  await rig.checkIn("netinst", "netinst-1");
  await rig.create({ parameters: { ...installRequest.parameters, wipe: "known" } });
  t.like(rig.order(), { guard: { protectedSerials: [], onlyOver: [] } });
  await rig.report({ stage: "writing" });
  const disk = { name: "vda", contentsId: "gpt:1" };
  await rig.report({ stage: "committing", status: "done", disk });
  await rig.checkIn("resident", "disk-1");
  t.like(rig.node, { state: "installed", installedDisk: disk });
  const contents = { kind: "known", text: "GPT", id: "gpt:1" } as const;
  const disks = [{ name: "vda", sizeBytes: 64e9, removable: false, contents }];
  rig.nodes.update(rig.node.id, { hardware: { ...hardware, disks } });
  await rig.create({ parameters: { ...installRequest.parameters, wipe: "known" } });
  await rig.checkIn("netinst", "netinst-2");
  t.like(rig.order(), { guard: { onlyOver: [disk] } });
  await rig.report({ bootId: "netinst-2", stage: "writing" });
  t.is(rig.node.installedDisk, undefined);
});

test("a disk that is protected while an install waits is not handed to the agent", async (t) => {
  const rig = await createRig();
  rig.nodes.update(rig.node.id, { hardware });
  rig.queue.held = true;
  await rig.create();
  rig.nodes.protectDisk("D1", { reason: "archive", by: "ada", at: rig.clock.now() });
  rig.queue.restore();
  await rig.silent(35);
  t.like(rig.task(), {
    state: "failed",
    reason: "disk vda of lab-a-1 is protected by ada: archive",
  });
});
