/** The kind `capture`: the node is borrowed, read, and given back; nothing half gets into the library. */

import test from "ava";
import { decideBootTarget } from "../../server/boot/target.ts";
import { AttemptSupersededError, ConflictError } from "../../server/errors.ts";
import { planOf } from "../../server/http/job-plan.ts";
import type { Admin } from "../../server/http/services.ts";
import { settle } from "../support/manual-clock.ts";
import { createRig, digest, image, type Rig } from "./rig.ts";

const request = { kind: "capture", parameters: { name: "golden" } } as never;
const captured = { digest, storedBytes: 7 };

async function installedRig(): Promise<Rig> {
  const rig = await createRig("on");
  rig.nodes.update(rig.node.id, {
    state: "installed",
    image: digest,
    firmware: "bios-pxe",
    installedDisk: { name: "vda", serial: "S1" },
  });
  return rig;
}

const targetOf = (rig: Rig) =>
  decideBootTarget(rig.node, rig.store.tasks.unfinishedOf(rig.node.id));

/** To the moment in which everything was sent. */
async function send(rig: Rig): Promise<void> {
  await rig.checkIn("resident", "disk-0");
  await rig.create(request);
  await rig.checkIn("netinst", "netinst-1");
  await rig.report({ stage: "sending", percent: 50 });
}

test("an installed node is read from netinst, and boots its own system again", async (t) => {
  const rig = await installedRig();
  const taken: unknown[] = [];
  rig.captured = async (key) => {
    taken.push(key);
    return captured;
  };
  await rig.checkIn("resident", "disk-0");
  t.is(targetOf(rig), "local-disk");
  await rig.create(request);
  t.like(rig.order(), { action: "reboot" });
  t.is(targetOf(rig), "netinst");
  await rig.checkIn("netinst", "netinst-1");
  t.like(rig.order(), {
    ...{ action: "capture", epoch: 1, format: "rootfs-tar", disk: "S1", leaveOut: [] },
    ...{ bootloader: "grub", isLast: false },
  });
  t.is(targetOf(rig), "netinst");
  await rig.report({ stage: "sending", percent: 100, status: "done" });
  t.deepEqual(taken, [{ taskId: rig.task().id, epoch: 1 }]);
  t.is(rig.task().stage, "rebooting");
  t.is(targetOf(rig), "local-disk");
  t.like(rig.order(), { action: "reboot" });
  t.like(rig.node, { state: "installed", image: digest });
  await rig.checkIn("resident", "disk-1");
  t.like(rig.task(), { state: "done", percent: 100 });
  t.like(rig.node, { state: "installed", image: digest });
  const said = rig.store.tasks.log(rig.task().id).map(({ line }) => line);
  t.true(said.includes(`in the library as golden: 7 octets, ${digest}`));
});

test("a node without a system of ours stays in netinst", async (t) => {
  const rig = await createRig();
  rig.captured = async () => captured;
  await rig.checkIn("netinst", "netinst-1");
  await rig.create(request);
  await rig.report({ stage: "sending", percent: 100, status: "done" });
  t.like(rig.task(), { state: "done" });
  t.is(rig.order(), undefined);
});

test("a server that is killed while it stores goes on with the same attempt", async (t) => {
  const first = await installedRig();
  const never = Promise.withResolvers<undefined>();
  first.captured = () => never.promise;
  await send(first);
  await first.report({ stage: "sending", percent: 100, status: "done" });
  t.is(first.task().stage, "storing");
  const closing = first.restart();
  never.resolve(undefined);
  const rig = await closing;
  // Before anything else: the attempt is the same, and what was sent is here.
  t.like(rig.task(), { state: "running", epoch: 1 });
  t.is(rig.attempts().filter(({ outcome }) => outcome === "done").length, 0);
});

test("what did not arrive whole is sent again by another attempt", async (t) => {
  const rig = await installedRig();
  await send(rig);
  await rig.report({ stage: "sending", percent: 100, status: "done" });
  t.is(rig.attempts()[0]?.reason, "what the agent sent is not here any more");
  await rig.live(15, "netinst", "netinst-1");
  t.like(rig.order(), { action: "capture", epoch: 2, isLast: false });
});

test("the third attempt is told that it is the last; what it ends with stays", async (t) => {
  const rig = await installedRig();
  await send(rig);
  for (const pause of [15, 30]) {
    await rig.report({ stage: "sending", status: "failed", reason: "no way", retryable: true });
    await rig.live(pause, "netinst", "netinst-1");
  }
  t.like(rig.order(), { action: "capture", epoch: 3, isLast: true });
  await rig.report({ stage: "sending", status: "failed", reason: "no way", retryable: true });
  t.like(rig.task(), { state: "failed", reason: "no way" });
  t.is(rig.node.state, "installed");
  t.is(targetOf(rig), "local-disk");
});

test("parts are taken of the open attempt of this boot only, and of nobody after a cancellation", async (t) => {
  const rig = await installedRig();
  await send(rig);
  const attempt = { taskId: rig.task().id, epoch: 1, bootId: "netinst-1" };
  const check = (change: object) => () =>
    rig.jobs.checkAttempt(rig.node.id, { ...attempt, ...change });
  t.notThrows(check({}));
  t.throws(check({ epoch: 2 }), { instanceOf: AttemptSupersededError });
  t.throws(check({ bootId: "netinst-0" }), { instanceOf: AttemptSupersededError });
  const { jobId } = rig.task();
  rig.jobs.cancel(jobId, "ada");
  t.throws(check({}), { instanceOf: AttemptSupersededError });
  t.deepEqual(
    await rig.report({ stage: "sending", percent: 60 }),
    { cancelled: true },
    "its agent hears of it, and leaves netinst",
  );
  t.is(targetOf(rig), "local-disk");
});

test("an image that nobody wants any more is not published", async (t) => {
  const rig = await installedRig();
  const stored = Promise.withResolvers<typeof captured>();
  rig.captured = () => stored.promise;
  await send(rig);
  await rig.report({ stage: "sending", percent: 100, status: "done" });
  t.is(rig.task().stage, "storing");
  rig.jobs.cancel(rig.task().jobId, "ada");
  stored.resolve(captured); // the rig's library asks whether it is wanted, as the real one does
  await settle();
  t.like(rig.task(), { state: "cancelled", reason: "cancelled by ada" });
  t.false(rig.store.tasks.log(rig.task().id).some(({ line }) => line.startsWith("in the library")));
});

test("the library's word against it ends the task", async (t) => {
  const rig = await installedRig();
  rig.captured = () => Promise.reject(new ConflictError("it is in the library as other"));
  await send(rig);
  await rig.report({ stage: "sending", percent: 100, status: "done" });
  t.like(rig.task(), { state: "failed", reason: "it is in the library as other" });
});

test("a capture takes one node, and wants a name", async (t) => {
  const rig = await installedRig();
  const other = rig.nodes.heard({
    ...{ mac: "52:54:00:00:00:02" as never, ipxe: false, architectures: [0] },
    firmware: "bios-pxe",
  });
  await t.throwsAsync(rig.create({ ...(request as object), nodes: [rig.node.id, other.id] }), {
    message: "all names 2 nodes, one job of kind capture takes 1",
  });
  for (const parameters of [{}, { name: "Golden" }, { name: "a", leaveOut: ["srv"] }]) {
    await t.throwsAsync(rig.create({ kind: "capture", parameters } as never), {
      message: /parameters(\/| must have required properties )(name|leaveOut)/,
    });
  }
});

test("its plan says that the node stops, and loses nothing", async (t) => {
  const rig = await installedRig();
  const { store, nodes, clock } = rig;
  const library = { get: () => image, list: () => [image] };
  const asked = { ...(request as object), selector: "all", nodes: [rig.node.id], createdBy: "ada" };
  const plan = planOf(
    asked as never,
    { store, nodes, clock, library, config: { commands: {} } } as unknown as Admin,
  );
  t.deepEqual(plan.nodes, [
    {
      id: rig.node.id,
      name: "lab-a-1",
      does: "stop it, read the files of its disk and make image golden of that, start it again",
    },
  ]);
});
