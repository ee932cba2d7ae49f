import test from "ava";
import { createCrew } from "./crew.ts";
import { createRig, type Rig } from "./rig.ts";

const shutdown = { kind: "shutdown", parameters: { warnSeconds: 0, outlet: "off" } } as const;

async function online(outlet: Rig["outlet"]): Promise<Rig> {
  const rig = await createRig(outlet);
  await rig.checkIn("resident", "disk-1");
  return rig;
}

test("the outlet is cut once the system is down, not before", async (t) => {
  const rig = await online("on");
  await rig.create(shutdown);
  t.like(rig.order(), { action: "shutdown" });
  await rig.silent(50);
  t.deepEqual(rig.verbs, [], "a relay cannot tell whether the system still writes");
  await rig.silent(15);
  t.deepEqual(rig.verbs, ["cut a1"]);
  t.is(rig.task().state, "done");
  t.like(rig.node, { power: "off", connection: "offline" });
});

test("a cycle gives the power again", async (t) => {
  const rig = await online("on");
  await rig.create({ kind: "shutdown", parameters: { warnSeconds: 0, outlet: "cycle" } });
  rig.order();
  await rig.silent(65);
  t.deepEqual(rig.verbs, ["cut a1", "on a1"]);
  t.like(rig.node, { power: "on", connection: "offline" });
  t.is(rig.task().state, "done");
});

test("a node that went offline meanwhile has nothing left to shut down: it is cut", async (t) => {
  const rig = await createRig("on");
  await rig.create(shutdown);
  t.deepEqual(rig.verbs, ["cut a1"]);
  t.is(rig.task().state, "done");
});

test("an outlet that feeds two nodes is cut by the one that goes down last", async (t) => {
  const crew = await createCrew({ a: 2 });
  const job = crew.reboot(shutdown);
  await crew.pass(0);
  for (const task of crew.store.tasks.ofJob(job.id)) crew.jobs.assignmentFor(task.nodeId);
  await crew.pass(60, ["a1"]);
  await crew.pass(15, ["a1"]);
  t.is(crew.shown(job), "a1 done, a2 running");
  t.deepEqual(crew.cuts, []);
  await crew.pass(75, ["a1", "a2"]);
  t.is(crew.shown(job), "a1 done, a2 done");
  t.deepEqual(crew.cuts, ["a1"]);
});
