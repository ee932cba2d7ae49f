import test from "ava";
import { AttemptSupersededError } from "../../server/errors.ts";
import { bringTo, createRig, digest, finish, image, installRequest, type Rig } from "./rig.ts";

const netinst = "netinst-1";

test("a node in netinst is installed, and done when its own system has called", async (t) => {
  const rig = await createRig();
  await rig.checkIn("netinst", netinst);
  await rig.create();
  t.is(rig.node.state, "installing");
  const order = rig.order();
  t.like(order, { action: "install", epoch: 1, hostname: "lab-a-1" });
  if (order?.action !== "install") return t.fail("no install order");
  const { createdAt: _, ...signed } = image;
  t.deepEqual(order.image, { ...signed, url: `http://10.77.0.1:8080/images/${digest}` });
  t.true(rig.jobs.imageAllowed(order.ticket, digest));
  t.false(rig.jobs.imageAllowed(`${order.ticket.slice(0, -1)}!`, digest));

  await rig.report({ stage: "preparing" });
  await rig.clock.advance(1000);
  await rig.report({ stage: "writing", percent: 40, bytesPerSecond: 1e7, log: ["on\u001b[2Jvda"] });
  t.like(rig.task(), { stage: "writing", percent: 40, bytesPerSecond: 1e7 });
  t.is(rig.task().stageSeconds.preparing, 1);
  t.deepEqual(
    rig.store.tasks.log(rig.task().id).map(({ line }) => line),
    ["on\ufffd[2Jvda"],
  );
  await rig.report({ stage: "committing", status: "done", sshHostKeys: ["SHA256:x"] });
  t.is(rig.task().stage, "rebooting");
  t.like(rig.order(), { action: "reboot", epoch: 1 });

  await rig.checkIn("resident", "disk-1");
  t.is(rig.order(), undefined);
  t.like(rig.task(), { state: "done", epoch: 1, percent: 100 });
  t.like(rig.node, { state: "installed", image: digest });
  t.deepEqual(rig.node.sshHostKeys, ["SHA256:x"]);
  t.is(rig.store.jobs.list({ limit: 1 })[0]?.state, "done");
  t.like(rig.attempts(), [{ epoch: 1, outcome: "done" }]);
  t.false(rig.jobs.imageAllowed(order.ticket, digest));
});

test("a running system is asked to restart into netinst, once", async (t) => {
  const rig = await createRig("on");
  await rig.checkIn("resident", "disk-0");
  await rig.create();
  t.like(rig.order(), { action: "reboot" });
  t.deepEqual(rig.verbs, ["window reboot"]);
  await rig.checkIn("netinst", netinst);
  t.like(rig.order(), { action: "install" });
});

const again = "it started its installed system again instead of netinst";

test("a system that starts again instead of netinst ends the attempt; the next one asks it again", async (t) => {
  const rig = await createRig("on");
  await rig.checkIn("resident", "disk-0");
  await rig.create();
  t.like(rig.order(), { action: "reboot", epoch: 1 });
  await rig.checkIn("resident", "disk-1");
  t.is(rig.attempts()[0]?.reason, again);
  await rig.live(15, "resident", "disk-1");
  t.like(rig.order(), { action: "reboot", epoch: 2 });
  await rig.checkIn("netinst", netinst);
  t.like(rig.order(), { action: "install", epoch: 2 });
});

test("a server started anew orders no second restart in one attempt", async (t) => {
  const before = await createRig("on");
  await before.checkIn("resident", "disk-0");
  await before.create();
  const rig = await before.restart();
  await rig.checkIn("resident", "disk-0");
  t.like(rig.order(), { action: "reboot", epoch: 1 }, "the boot that was asked is asked again");
  const next = await rig.restart();
  await next.checkIn("resident", "disk-1");
  t.is(next.attempts()[0]?.reason, again);
  t.is(next.order(), undefined);
  t.deepEqual(
    next.verbs.filter((verb) => !verb.startsWith("window")),
    [],
  );
});

const outlets = [
  ["a node that is off is switched on", "off", ["window power-on", "on a1"]],
  ["a node that is on but silent is power-cycled", "on", ["window power-on", "cycle a1"]],
  ["a node without outlet waits for a human", "none", ["window power-on"]],
] as const;
for (const [title, outlet, verbs] of outlets) {
  test(title, async (t) => {
    const rig = await createRig(outlet);
    await rig.create();
    t.deepEqual(rig.verbs, verbs);
    t.is(rig.task().stage, "waiting-for-agent");
    await rig.checkIn("netinst", netinst);
    await finish(rig);
    t.is(rig.task().state, "done");
  });
}

const stages = [
  "waiting-for-agent",
  "preparing",
  "writing",
  "verifying",
  "configuring",
  "committing",
  "rebooting",
  "first-boot",
] as const;
for (const stage of stages) {
  test(`a server killed while ${stage} goes on with the same epoch and no second power verb`, async (t) => {
    const before = await bringTo(await createRig("on"), stage);
    t.is(before.task().stage, stage);
    const verbs = before.verbs.filter((verb) => !verb.startsWith("window"));
    const rig = await before.restart();
    t.is(rig.task().reason, undefined);
    t.like(rig.task(), { state: "running", stage, epoch: 1 });
    await finish(rig);
    t.like(rig.task(), { state: "done", epoch: 1 });
    t.like(rig.node, { state: "installed", image: digest });
    t.deepEqual(
      rig.verbs.filter((verb) => !verb.startsWith("window")),
      verbs,
    );
    t.is(rig.attempts().length, 1);
  });
}

test("the ticket given before a restart is still good after it", async (t) => {
  const before = await bringTo(await createRig(), "writing");
  const order = before.order();
  const rig = await before.restart();
  t.deepEqual(rig.order(), order);
  t.true(order?.action === "install" && rig.jobs.imageAllowed(order.ticket, digest));
});

test("the ticket of a node that is held back is good for nothing", async (t) => {
  const rig = await bringTo(await createRig(), "writing");
  const order = rig.order();
  if (order?.action !== "install") return t.fail("no install order");
  rig.nodes.quarantine(rig.node.id, "ada revoked its certificate");
  t.false(rig.jobs.imageAllowed(order.ticket, digest));
});

test("an agent that reports done twice, because an answer was lost, is believed twice", async (t) => {
  const rig = await bringTo(await createRig(), "rebooting");
  t.deepEqual(await rig.report({ stage: "committing", status: "done" }), { cancelled: false });
  t.is(rig.task().stage, "rebooting");
});

test("a wrong hash is not tried again and its reason is kept", async (t) => {
  const rig = await bringTo(await createRig("on"), "writing");
  await rig.report({ status: "failed", stage: "writing", reason: "wrong hash", retryable: false });
  t.like(rig.task(), { state: "failed", epoch: 1, reason: "wrong hash" });
  t.like(rig.attempts(), [{ epoch: 1, outcome: "failed", reason: "wrong hash" }]);
  t.like(rig.node, { state: "failed", reason: "wrong hash" });
  t.is(rig.order(), undefined);
});

test("a network failure is tried three times and then given up", async (t) => {
  const rig = await bringTo(await createRig(), "writing");
  for (const epoch of [1, 2, 3]) {
    t.is(rig.task().epoch, epoch);
    await rig.report({ status: "failed", stage: "writing", reason: "no route", retryable: true });
    await rig.live(60, "netinst", netinst);
  }
  t.like(rig.task(), { state: "failed", epoch: 3, reason: "no route" });
  t.deepEqual(
    rig.attempts().map(({ outcome }) => outcome),
    ["failed", "failed", "failed"],
  );
});

test("after three minutes of silence the next attempt switches the power, once", async (t) => {
  const rig = await bringTo(await createRig("on"), "writing");
  rig.verbs.length = 0;
  await rig.silent(175);
  t.is(rig.task().epoch, 1);
  await rig.silent(20);
  t.is(rig.attempts()[0]?.reason, "no sign of life for 180 s while writing");
  t.like(rig.task(), { state: "running", epoch: 2, stage: "waiting-for-agent" });
  t.deepEqual(rig.verbs, ["window power-on", "cycle a1"]);
  await rig.checkIn("netinst", "netinst-2");
  t.like(rig.order(), { action: "install", epoch: 2 });
  t.is(rig.verbs.length, 2);
});

test("an agent that only checks in is alive", async (t) => {
  const rig = await bringTo(await createRig("on"), "writing");
  await rig.live(600, "netinst", netinst);
  t.like(rig.task(), { state: "running", epoch: 1, stage: "writing" });
});

test("a node that restarts while it writes begins a new attempt", async (t) => {
  const rig = await bringTo(await createRig(), "writing");
  await rig.checkIn("netinst", "netinst-2");
  t.is(rig.attempts()[0]?.reason, "the node restarted while writing");
  await rig.live(15, "netinst", "netinst-2");
  t.like(rig.order(), { action: "install", epoch: 2 });
});

test("a report of an older epoch is refused and changes nothing", async (t) => {
  const rig = await bringTo(await createRig(), "writing");
  await rig.report({ status: "failed", reason: "no route", retryable: true });
  await rig.live(15, "netinst", netinst);
  const before = rig.task();
  t.is(before.epoch, 2);
  const late = rig.report({ epoch: 1, stage: "committing", status: "done" });
  await t.throwsAsync(late, { instanceOf: AttemptSupersededError });
  t.deepEqual(rig.task(), before);
});

test("a report from an earlier boot of the node is refused", async (t) => {
  const rig = await bringTo(await createRig(), "writing");
  const late = rig.report({ bootId: "resident-0", status: "done" });
  await t.throwsAsync(late, { instanceOf: AttemptSupersededError });
});

test("an installed system under another name is not believed", async (t) => {
  const rig = await bringTo(await createRig(), "first-boot");
  await rig.checkIn("resident", "disk-1", "debian");
  t.is(rig.task().state, "running");
  await rig.live(0, "resident", "disk-1");
  for (let minute = 0; minute < 16; minute++) {
    await rig.clock.advance(60_000);
    await rig.checkIn("resident", "disk-1", "debian");
  }
  t.is(rig.attempts()[0]?.reason, "the installed system calls itself debian, not lab-a-1");
});

test("a node that starts netinst again after its install is not done", async (t) => {
  const rig = await bringTo(await createRig(), "rebooting");
  await rig.checkIn("netinst", "netinst-2");
  t.is(rig.attempts()[0]?.reason, "it started netinst again instead of the installed system");
});

const cancellations: readonly (readonly [title: string, stage: Rig["node"]["state"], string])[] = [
  ["cancelled before anything was written, a node is what it was", "ready", "preparing"],
  ["cancelled while it was written, a node has no system and says so", "failed", "writing"],
];
for (const [title, state, stage] of cancellations) {
  test(title, async (t) => {
    const rig = await bringTo(await createRig(), stage as "writing");
    const job = rig.store.jobs.list({ limit: 1 })[0];
    if (!job) return t.fail("no job");
    t.is(rig.jobs.cancel(job.id, "ada").state, "cancelled");
    t.like(rig.task(), { state: "cancelled", reason: "cancelled by ada" });
    t.is(rig.node.state, state);
    t.is(rig.order(), undefined);
    t.deepEqual(await rig.report({ stage: "writing", percent: 60 }), { cancelled: true });
    t.like(rig.attempts(), [{ outcome: "cancelled" }]);
    t.is(rig.jobs.cancel(job.id, "ada").state, "cancelled");
    t.is((await rig.restart()).task().state, "cancelled");
  });
}

test("a quarantined node gets no install and the reason says why", async (t) => {
  const rig = await createRig();
  rig.nodes.quarantine(rig.node.id, "serial number changed");
  await rig.create();
  t.like(rig.task(), {
    state: "failed",
    epoch: 0,
    reason: "lab-a-1 is held back: serial number changed",
  });
});

const disk = (name: string, serial?: string, removable = false) => ({
  name,
  sizeBytes: 1 << 30,
  removable,
  ...(serial !== undefined && { serial }),
});
const pinned = [
  ["the only fixed disk", undefined, [disk("sda", "A"), disk("sdb", "B", true)], "A"],
  ["a disk named by its kernel name", "sdb", [disk("sda", "A"), disk("sdb", "B")], "B"],
  ["a disk named by its serial", "B", [disk("sda", "A"), disk("sdb", "B")], "B"],
  ["a disk without a serial", "sda", [disk("sda"), disk("sdb", "B")], "sda"],
  ["two disks of one serial", "sdb", [disk("sda", "A"), disk("sdb", "A")], "sdb"],
  ["a disk that is not there", "sdc", [disk("sda", "A")], "sdc"],
  ["several disks, none named", undefined, [disk("sda", "A"), disk("sdb", "B")], undefined],
] as const;
for (const [title, named, disks, ordered] of pinned) {
  test(`P11: ${title} is meant by what it was when the job was made`, async (t) => {
    const rig = await createRig();
    const { hardware } = rig.node;
    if (!hardware) return t.fail();
    rig.nodes.update(rig.node.id, { hardware: { ...hardware, disks } });
    const parameters = {
      ...installRequest.parameters,
      ...(named !== undefined && { disk: named }),
    };
    await rig.create({ parameters });
    // Over the reboot the kernel names the disks the other way round.
    rig.nodes.update(rig.node.id, { hardware: { ...hardware, disks: disks.toReversed() } });
    await rig.checkIn("netinst", "netinst-1");
    const order = rig.order();
    t.is(order?.action === "install" ? order.disk : "no install", ordered);
  });
}
