/** Nodes that lose their power again and again, lie, crawl or restart their agent; servers without a clock. */

import test from "ava";
import type { Report } from "#protocol/agent.ts";
import { type Instant, parseIpv4Address } from "#protocol/brand.ts";
import { holdableClock } from "../../server/clock.ts";
import { AttemptSupersededError } from "../../server/errors.ts";
import { manualClock } from "../support/manual-clock.ts";
import { stoppable } from "../support/standstill.ts";
import { bringTo, createRig, digest, finish, ms, type Rig } from "./rig.ts";

const agentStages = ["preparing", "writing", "verifying", "configuring", "committing"] as const;

/** The node is back in netinst, from its next boot. */
async function cut(rig: Rig, boot: number): Promise<void> {
  await rig.checkIn("netinst", `netinst-${boot}`);
  await rig.live(60, "netinst", `netinst-${boot}`);
}

for (const stage of agentStages) {
  test(`E50: power lost while ${stage} in every attempt: given up after three, held, with the reason`, async (t) => {
    const rig = await bringTo(await createRig("on"), stage);
    for (const boot of [2, 3, 4]) {
      await cut(rig, boot);
      if (boot === 4) break;
      t.is(rig.task().epoch, boot);
      await rig.report({ bootId: `netinst-${boot}`, stage, percent: 1 });
    }
    const reason = `the node restarted while ${stage}`;
    t.like(rig.task(), { state: "failed", epoch: 3, reason });
    const expected = stage === "preparing" ? { state: "ready" } : { state: "failed", reason };
    t.like(rig.node, expected);
    const verbs = rig.verbs.length;
    await cut(rig, 5);
    t.is(rig.order(), undefined, "it boots once more: there is nothing for it to do");
    t.is(rig.verbs.length, verbs, "and its power is left alone");
    t.is(rig.task().epoch, 3);
  });
}

const everyStage = ["waiting-for-agent", ...agentStages, "rebooting", "first-boot"] as const;

for (const stage of everyStage) {
  test(`E49: power lost once while ${stage}: the install ends, with one more attempt where it wrote`, async (t) => {
    const rig = await bringTo(await createRig("on"), stage);
    const isWritten = stage === "rebooting" || stage === "first-boot";
    if (isWritten)
      await rig.checkIn("resident", "disk-1", "localhost"); // cut before it has its name
    else await cut(rig, 2);
    for (let turn = 0; turn < 3 && rig.task().state === "running"; turn++) {
      if (isWritten) await rig.checkIn("resident", "disk-2");
      else {
        await rig.report({ bootId: "netinst-2", stage: "committing", status: "done" });
        await rig.checkIn("resident", "disk-1");
      }
    }
    const wasInterrupted = agentStages.some((one) => one === stage);
    t.like(rig.task(), { state: "done", epoch: wasInterrupted ? 2 : 1 });
    t.like(rig.node, { state: "installed", image: digest });
  });

  test(`E55: cancelled while ${stage}: no order is left, and nothing that comes late counts`, async (t) => {
    const rig = await bringTo(await createRig("on"), stage);
    const { id, epoch, jobId } = rig.task();
    rig.jobs.cancel(jobId, "ada");
    await rig.checkIn("netinst", "netinst-1");
    t.is(rig.order(), undefined);
    const late = { taskId: id, epoch, stage: "committing", status: "done" } as const;
    t.deepEqual(await rig.report(late), { cancelled: true });
    await rig.checkIn("resident", "disk-1");
    t.is(rig.task().state, "cancelled");
    const isClean = stage === "waiting-for-agent" || stage === "preparing";
    t.is(rig.node.state, isClean ? "ready" : "failed");
    t.is(rig.node.image, undefined);
  });
}

test("E49: power lost right after netinst has enrolled, its token used up: another attempt gives it one after three minutes", async (t) => {
  const rig = await bringTo(await createRig("on"), "waiting-for-agent");
  const hardware = { model: "virtual", cpus: 1, memoryMiB: 1024, disks: [], interfaces: [] };
  await rig.silent(60);
  rig.nodes.enrolled(rig.node.id, { certificate: "other", hardware, architecture: "amd64" });
  const verbs = rig.verbs.length;
  await rig.silent(180);
  t.is(rig.task().epoch, 1, "it may still call");
  await rig.silent(30);
  t.like(rig.task(), { state: "running", epoch: 2, stage: "waiting-for-agent" });
  t.deepEqual(rig.verbs.slice(verbs), ["window power-on", "cycle a1"]);
  t.is(rig.attempts()[0]?.reason, "netinst enrolled, and did not call within 180 s");
  await finish(rig);
  t.is(rig.task().state, "done");
});

const ask = (rig: Rig) =>
  rig.nodes.update(rig.node.id, {
    asks: [{ code: "ABCD-EFGH", address: parseIpv4Address("10.77.0.11"), at: rig.clock.now() }],
  });

test("E49: power lost for a second while writing: another attempt as soon as the next boot asks to enrol and the agent is silent", async (t) => {
  const rig = await bringTo(await createRig("on"), "writing");
  await rig.silent(40);
  ask(rig);
  await rig.silent(4);
  t.is(rig.task().epoch, 1, "the agent may still be at work: anybody can ask in its name");
  await rig.silent(20);
  t.like(rig.attempts()[0], { outcome: "failed", reason: "the node restarted while writing" });
  t.is(rig.task().epoch, 2);
  await finish(rig);
  t.like(rig.task(), { state: "done", epoch: 2 });
});

test("who asks to enrol in the name of a node whose agent works changes nothing", async (t) => {
  const rig = await bringTo(await createRig("on"), "writing");
  for (let minute = 0; minute < 5; minute++) {
    ask(rig);
    await rig.live(60, "netinst", "netinst-1");
  }
  t.like(rig.task(), { state: "running", epoch: 1 });
});

test("a system that renews its certificate before it restarts into netinst is not taken for netinst", async (t) => {
  const rig = await createRig("on");
  await rig.checkIn("resident", "disk-0");
  await rig.create();
  rig.nodes.update(rig.node.id, { certificate: "the system's next" });
  await rig.silent(590);
  t.like(rig.task(), { state: "running", epoch: 1 });
});

test("E52: a server that is away for ten minutes while a node writes: the same attempt ends", async (t) => {
  const before = await bringTo(await createRig("on"), "writing");
  await before.jobs.close();
  await before.clock.advance(600_000);
  const rig = await before.restart();
  await rig.report({ stage: "writing", percent: 90 });
  t.like(rig.task(), { state: "running", stage: "writing", epoch: 1, percent: 90 });
  await finish(rig);
  t.like(rig.task(), { state: "done", epoch: 1 });
});

test("E54: an agent that is killed, as for want of memory, and started again in the same boot gets its order again", async (t) => {
  const rig = await bringTo(await createRig("on"), "verifying");
  const order = rig.order();
  t.like(order, { action: "install", epoch: 1 });
  await rig.checkIn("netinst", "netinst-1");
  t.deepEqual(rig.order(), order);
  await rig.report({ stage: "preparing", percent: 0 });
  t.like(rig.task(), { stage: "verifying", epoch: 1 }, "what is shown does not go back");
  await finish(rig);
  t.like(rig.task(), { state: "done", epoch: 1 });
});

test("a node that crawls is waited for as long as it comes further, and no longer", async (t) => {
  const rig = await bringTo(await createRig("on"), "writing");
  for (const percent of [60, 61, 62]) {
    await rig.live(7100, "netinst", "netinst-1");
    await rig.report({ stage: "writing", percent });
  }
  t.is(rig.task().epoch, 1);
  await rig.live(7200, "netinst", "netinst-1");
  await rig.live(60, "netinst", "netinst-1");
  t.is(rig.attempts()[0]?.reason, "no progress for 120 minutes: writing");
  t.is(rig.task().epoch, 2);
});

const lies: readonly (readonly [title: string, report: Partial<Report>])[] = [
  ["more than all of it", { stage: "writing", percent: 4000 }],
  ["less than nothing", { stage: "writing", percent: -1 }],
  ["a stage it has passed", { stage: "preparing", percent: 100 }],
  ["a stage that is the server's to tell", { stage: "first-boot", percent: 100 }],
  ["a stage of another kind of job", { stage: "powering-off", percent: 100 }],
];
for (const [title, report] of lies) {
  test(`a node that reports ${title} stays where it is`, async (t) => {
    const rig = await bringTo(await createRig("on"), "writing");
    await rig.report(report);
    const { state, stage, percent } = rig.task();
    t.deepEqual({ state, stage }, { state: "running", stage: "writing" });
    t.true(percent >= 0 && percent <= 100);
    await finish(rig);
    t.is(rig.task().state, "done");
  });
}

test("a node that floods its log fills no more than 200 lines of 2000 characters a report", async (t) => {
  const rig = await bringTo(await createRig("on"), "writing");
  await rig.report({ log: Array.from({ length: 5000 }, () => "x".repeat(10_000)) });
  const lines = rig.store.tasks.log(rig.task().id).filter(({ line }) => line.startsWith("x"));
  t.true(lines.length <= 200);
  t.true(lines.every(({ line }) => line.length <= 2000));
});

for (const stage of ["waiting-for-agent", "writing", "first-boot"] as const) {
  test(`D41: a server that stands still for an hour at ${stage} takes nobody for silent, and nothing for late`, async (t) => {
    const { clock, told, standStill } = stoppable();
    const rig = await bringTo(await createRig("on", { clock }), stage);
    const before = rig.node.connection;
    const verbs = rig.verbs.length;
    await standStill(3_600_000);
    rig.nodes.markOffline();
    t.is(rig.node.connection, before);
    await rig.clock.advance(10_000);
    t.like(rig.task(), { state: "running", stage, epoch: 1 });
    t.is(told.length, 1);
    await finish(rig);
    t.like(rig.task(), { state: "done", epoch: 1 });
    t.is(rig.verbs.length, verbs, "no second power cycle");
  });
}

for (const stage of ["waiting-for-agent", "writing", "rebooting", "first-boot"] as const) {
  test(`E52: a server that has no link for an hour at ${stage} switches nothing, and goes on with the same attempt`, async (t) => {
    const real = manualClock();
    const link = holdableClock(real);
    const clock = { ...link, advance: real.advance };
    const rig = await bringTo(await createRig("on", { clock }), stage);
    const before = rig.node.connection;
    const verbs = rig.verbs.length;
    link.hold();
    await rig.silent(3600);
    t.is(rig.node.connection, before);
    t.like(rig.task(), { state: "running", stage, epoch: 1 });
    link.release();
    await rig.silent(20);
    await finish(rig);
    t.like(rig.task(), { state: "done", epoch: 1 });
    t.is(rig.verbs.length, verbs, "no second power cycle");
  });
}

test("E52: a node that loses its own link is given another attempt after three minutes", async (t) => {
  const real = manualClock();
  const link = holdableClock(real);
  const rig = await bringTo(
    await createRig("on", { clock: { ...link, advance: real.advance } }),
    "writing",
  );
  link.hold();
  await rig.silent(600);
  link.release();
  t.is(rig.task().epoch, 1);
  await rig.silent(200);
  t.regex(rig.attempts()[0]?.reason ?? "", /^no sign of life for 180 s while writing$/);
  t.is(rig.task().epoch, 2);
  t.true(rig.verbs.includes("cycle a1"));
});

test("D41: what comes of an attempt that has ended is refused, and counted", async (t) => {
  const counted: string[] = [];
  const metrics = { superseded: (what: string) => void counted.push(what) };
  const rig = await bringTo(await createRig("on", { metrics }), "writing");
  const { id, epoch } = rig.task();
  await rig.report({
    stage: "writing",
    status: "failed",
    reason: "out of memory",
    retryable: true,
  });
  await rig.live(30, "netinst", "netinst-1");
  t.is(rig.task().epoch, 2);
  t.deepEqual(counted, []);
  const late = { taskId: id, epoch, stage: "committing", status: "done" } as const;
  await t.throwsAsync(rig.report(late), { instanceOf: AttemptSupersededError });
  t.like(rig.task(), { state: "running", stage: "preparing", epoch: 2 });
  await rig.queue.add([{ taskId: id, epoch }]);
  t.deepEqual(counted, ["report", "entry"]);
});

test("D41: a task that was cancelled while its outlet did not answer switches nothing", async (t) => {
  const counted: string[] = [];
  const metrics = { superseded: (what: string) => void counted.push(what) };
  const rig = await createRig("on", { metrics });
  const { promise, resolve } = Promise.withResolvers<void>();
  rig.outletAnswers = promise;
  const job = await rig.create();
  rig.jobs.cancel(job.id, "ada");
  resolve();
  await rig.clock.advance(0);
  t.deepEqual(rig.verbs, ["window power-on"]);
  t.deepEqual(counted, ["effect"]);
});

test("D41: a queue that delivers an entry again and again runs its task once", async (t) => {
  const rig = await bringTo(await createRig("on"), "writing");
  const { id, epoch } = rig.task();
  const verbs = rig.verbs.length;
  for (let time = 0; time < 5; time++) await rig.queue.add([{ taskId: id, epoch: 0 }]);
  t.like(rig.task(), { epoch, state: "running" });
  t.is(rig.verbs.length, verbs);
  await finish(rig);
  await rig.queue.add([{ taskId: id, epoch }]);
  t.like(rig.task(), { state: "done", epoch: 1 });
  t.is(rig.node.image, digest);
});

const years = (count: number) => count * 365 * 24 * 3_600_000;
const jumps = [
  ["56 years back, to 1970", -years(56)],
  ["an hour back", -3_600_000],
  ["ten years forward", years(10)],
] as const;
for (const [title, jump] of jumps) {
  test(`the server's clock jumps ${title} while a node is installed: nothing ends early, or twice`, async (t) => {
    const clock = manualClock();
    let offset = 0;
    const jumping = { ...clock, now: () => (clock.now() + offset) as Instant };
    const rig = await bringTo(await createRig("on", { clock: jumping }), "writing");
    offset = jump;
    await rig.live(60, "netinst", "netinst-1");
    await rig.report({ stage: "verifying", percent: 10 });
    t.like(rig.task(), { state: "running", stage: "verifying", epoch: 1 });
    t.true(Object.values(rig.task().stageSeconds).every((seconds) => seconds >= 0));
    const again = await rig.restart();
    await finish(again);
    t.like(again.task(), { state: "done", epoch: 1 });
    t.is(again.node.state, "installed");
  });
}

test("a server without a clock, in 1970, installs and reboots all the same", async (t) => {
  const rig = await bringTo(await createRig("on", { clock: manualClock(ms(5000)) }), "first-boot");
  await rig.checkIn("resident", "disk-1");
  t.is(rig.task().state, "done");
  const job = await rig.create({ kind: "reboot", parameters: { warnSeconds: 0 } });
  rig.order();
  await rig.checkIn("resident", "disk-2");
  t.is(rig.task(job).state, "done");
});
