/** The kinds power-on, power-off and power-cycle. */

import test from "ava";
import type { Job } from "#protocol/job.ts";
import type { JobRequest } from "../../server/job/jobs.ts";
import { createCrew } from "./crew.ts";
import { createRig } from "./rig.ts";

const asked = (kind: "power-on" | "power-off" | "power-cycle", parameters = {}) =>
  ({ kind, parameters }) as Partial<JobRequest>;

test("power-on switches the outlet, opens the enrolment window and is done", async (t) => {
  const rig = await createRig("off");
  await rig.create(asked("power-on"));
  t.deepEqual(rig.verbs, ["window power-on", "on a1"]);
  t.is(rig.task().state, "done");
  t.is(rig.node.power, "on");
});

test("a node that runs is not cut unless that is forced", async (t) => {
  const rig = await createRig("on");
  await rig.checkIn("resident", "disk-1");
  await rig.create(asked("power-off"));
  t.regex(rig.task().reason ?? "", /runs: shut it down with its outlet, or give force/);
  t.deepEqual(rig.verbs, []);
  await rig.create(asked("power-off", { force: true }));
  t.deepEqual(rig.verbs, ["cut a1"]);
  t.like(rig.node, { power: "off", connection: "offline" });
});

test("power-cycle cuts and gives power once, and after a restart only gives it", async (t) => {
  const rig = await createRig("on");
  await rig.create(asked("power-cycle"));
  t.deepEqual(rig.verbs, ["window power-on", "cut a1", "on a1"]);
  t.like(rig.task(), { state: "done", epoch: 1 });
  t.is(rig.node.power, "on");
});

test("a slot without an outlet is told", async (t) => {
  const rig = await createRig("none");
  for (const kind of ["power-on", "power-off", "power-cycle"] as const) {
    await rig.create(asked(kind));
    t.is(rig.task().reason, "its slot has no outlet");
  }
});

test("an outlet that feeds two nodes of the job is switched once, by the last of them", async (t) => {
  const crew = await createCrew({ a: 4 });
  await crew.pass(15, ["a1", "a2", "a3", "a4"]);
  const job: Job = crew.reboot(asked("power-cycle", { force: true }));
  await crew.pass(1);
  t.is(crew.shown(job), "a1 done, a2 done, a3 done, a4 done");
  t.deepEqual([...crew.cuts].sort(), ["a1", "a2"]);
});

test("an outlet that also feeds a node that runs and is not in the job is left alone", async (t) => {
  const crew = await createCrew({ a: 2 });
  await crew.pass(15, ["a1", "a2"]);
  const [first] = crew.nodes.list();
  if (!first) return t.fail();
  const job = crew.reboot({ ...asked("power-off", { force: true }), nodes: [first.id] });
  await crew.pass(1);
  const [task] = crew.store.tasks.ofJob(job.id);
  t.is(task?.reason, "its outlet feeds nodes that run and are not in this job");
  t.deepEqual(crew.cuts, []);
  t.is(crew.nodes.get(first.id)?.connection, "online");
});

test("a node that is held back meanwhile keeps the reason for it when its task ends", async (t) => {
  const rig = await createRig("on");
  await rig.checkIn("netinst", "net-1");
  await rig.create();
  rig.nodes.quarantine(rig.node.id, "two machines run with its identity");
  rig.jobs.cancel(rig.task().jobId, "ada");
  await rig.silent(5);
  t.is(rig.task().state, "cancelled");
  t.like(rig.node, { quarantined: true, reason: "two machines run with its identity" });
});
