import test from "ava";
import { type Instant, instant } from "#protocol/brand.ts";
import type { Rollout } from "#protocol/job.ts";
import { ConflictError, InvalidInputError } from "../../server/errors.ts";
import { createCrew } from "./crew.ts";
import { digest } from "./rig.ts";

const start = "2026-11-21T12:00:00Z"; // a Saturday
const at = (iso: string): Instant => instant(Date.parse(iso));
const night = {
  name: "night",
  effect: "allows",
  opens: "sat 12:10",
  minutes: 10,
  zone: "UTC",
} as const;
const rollout: Rollout = { batch: 2, failures: 0, settleSeconds: 30 };

test("a job that was asked for now begins everywhere now", async (t) => {
  const crew = await createCrew();
  const job = crew.reboot();
  await crew.pass(1);
  t.is(crew.shown(job), "a1 running, a2 running, a3 running, a4 running");
});

test("a job for later begins at its time, also when the server was restarted before", async (t) => {
  const before = await createCrew({ a: 2 }, start);
  const job = before.reboot({ notBefore: at("2026-11-21T12:10Z") });
  t.like(job, { state: "waiting", waitsFor: "begins Sat 2026-11-21 12:10 UTC" });
  await before.pass(300);
  t.is(before.job(job).state, "waiting");
  const crew = await before.restart();
  await crew.pass(299);
  t.is(crew.shown(job), "a1 waiting, a2 waiting");
  await crew.pass(2);
  t.is(crew.shown(job), "a1 running, a2 running");
  t.is(crew.job(job).waitsFor, undefined);
});

test("a job that waits holds up nothing else on its node", async (t) => {
  const crew = await createCrew({ a: 1 }, start);
  const later = crew.reboot({ notBefore: at("2026-11-21T12:10Z") });
  const now = crew.reboot();
  await crew.pass(1);
  t.is(crew.task(now, "a1").state, "running");
  await crew.pass(660);
  t.is(crew.shown(later), "a1 queued"); // its time has come: behind the one that runs
  await crew.obey("a1");
  await crew.pass(1);
  t.is(crew.shown(now), "a1 done");
  t.is(crew.shown(later), "a1 running");
});

test("tasks begin in their window only, and what has begun goes on after it", async (t) => {
  const crew = await createCrew({ a: 2 }, start);
  crew.store.windows.put(night);
  const job = crew.reboot({
    window: "night",
    parameters: { warnSeconds: 3600 },
    rollout: { ...rollout, batch: 1, settleSeconds: 0 },
  });
  t.is(job.waitsFor, "window night opens Sat 2026-11-21 12:10 UTC");
  await crew.pass(601);
  t.is(crew.shown(job), "a1 running, a2 waiting");
  await crew.pass(600);
  t.is(crew.shown(job), "a1 running, a2 waiting");
  t.is(crew.job(job).waitsFor, "window night opens Sat 2026-11-28 12:10 UTC");
  await crew.obey("a1");
  await crew.pass(60);
  t.is(crew.shown(job), "a1 done, a2 waiting");
});

test("what was released and has not begun waits again when the window closes", async (t) => {
  const crew = await createCrew({ a: 1 }, "2026-11-21T12:15Z");
  crew.store.windows.put(night);
  const first = crew.reboot({ parameters: { warnSeconds: 3600 } });
  await crew.pass(1);
  const job = crew.reboot({ window: "night" });
  t.is(crew.shown(job), "a1 queued");
  await crew.pass(300);
  t.is(crew.shown(job), "a1 waiting");
  t.is(crew.job(job).state, "waiting");
  t.is(crew.shown(first), "a1 running");
});

test("a blackout holds what was planned, not what was asked for now", async (t) => {
  const crew = await createCrew({ a: 1, b: 1 }, start);
  crew.store.windows.put({
    name: "release-day",
    effect: "forbids",
    opens: "2026-11-21 12:00",
    minutes: 10,
    zone: "UTC",
  });
  const planned = crew.reboot({
    nodes: [crew.nodes.byName("a1")?.id ?? t.fail()] as never,
    notBefore: at("2026-11-21T12:01Z"),
  });
  const urgent = crew.reboot({ nodes: [crew.nodes.byName("b1")?.id ?? t.fail()] as never });
  await crew.pass(90);
  t.is(crew.job(planned).waitsFor, "release-day forbids it until Sat 2026-11-21 12:10 UTC");
  t.is(crew.shown(urgent), "b1 running");
  await crew.pass(600);
  t.is(crew.shown(planned), "a1 running");
});

test("what has not begun by the deadline is cancelled, what has goes on", async (t) => {
  const crew = await createCrew({ a: 2 }, start);
  const job = crew.reboot({
    deadline: at("2026-11-21T12:05Z"),
    rollout: { ...rollout, batch: 1 },
  });
  await crew.pass(301);
  t.is(crew.shown(job), "a1 running, a2 cancelled");
  t.is(crew.task(job, "a2").reason, "not begun by its deadline, Sat 2026-11-21 12:05 UTC");
  await crew.obey("a1");
  t.like(crew.job(job), { state: "cancelled", cancelledBy: "server" });
});

test("a job waits for the jobs before it, and is cancelled when one of them failed", async (t) => {
  const crew = await createCrew({ a: 1, b: 1 }, start);
  const [a1, b1] = ["a1", "b1"].map((name) => crew.nodes.byName(name)?.id);
  const first = crew.reboot({ nodes: [a1] as never });
  const second = crew.reboot({ nodes: [b1] as never, after: [first.id] });
  const third = crew.reboot({ nodes: [b1] as never, after: [second.id] });
  t.is(second.waitsFor, `job ${first.id} to end`);
  await crew.obey("a1");
  await crew.pass(2);
  t.is(crew.shown(second), "b1 running");
  await crew.fail("b1");
  await crew.pass(2);
  t.like(crew.job(third), { state: "cancelled", cancelledBy: "server" });
  t.is(crew.task(third, "b1").reason, `reboot ${second.id}, which it waited for, is failed`);
});

test("batches follow each other, each after the one before stayed online", async (t) => {
  const before = await createCrew({ a: 4 }, start);
  const job = before.reboot({ rollout });
  await before.pass(1);
  t.is(before.shown(job), "a1 running, a2 running, a3 waiting, a4 waiting");
  await before.obey("a1");
  await before.pass(60);
  t.is(before.job(job).waitsFor, "batch 1 to end");
  const crew = await before.restart();
  await crew.obey("a2");
  await crew.pass(15);
  t.is(crew.job(job).waitsFor, "batch 1 to settle until 12:01:31 UTC");
  t.is(crew.shown(job), "a1 done, a2 done, a3 waiting, a4 waiting");
  await crew.pass(20);
  t.is(crew.shown(job), "a1 done, a2 done, a3 running, a4 running");
  await crew.obey("a3", "a4");
  t.like(crew.job(job), { state: "done", waitsFor: undefined });
});

test("a failed canary stops the roll-out; resumed, the rest goes on", async (t) => {
  const crew = await createCrew({ a: 4 }, start);
  const job = crew.reboot({ rollout: { ...rollout, canary: 1, failures: "50%" } });
  await crew.fail("a1");
  await crew.pass(60);
  t.is(crew.shown(job), "a1 failed, a2 waiting, a3 waiting, a4 waiting");
  t.like(crew.job(job), {
    state: "running",
    paused: { by: "server", reason: "1 of 1 canary nodes failed" },
    waitsFor: "paused by server: 1 of 1 canary nodes failed",
  });
  t.is(crew.store.audit.list({ limit: 1 })[0]?.what, "job pause");
  t.is(crew.jobs.resume(job.id, "ada").paused, undefined);
  await crew.pass(1);
  t.is(crew.shown(job), "a1 failed, a2 running, a3 running, a4 waiting");
});

test("too many failures pause the rest, and hold back what had not begun", async (t) => {
  const crew = await createCrew({ a: 4, b: 2 }, start);
  const job = crew.reboot({ rollout: { ...rollout, batch: 4, failures: 1 } });
  await crew.fail("a1", "a2");
  await crew.pass(1);
  t.is(crew.shown(job), "a1 failed, a2 failed, a3 running, a4 running, b1 waiting, b2 waiting");
  t.is(crew.job(job).paused?.reason, "2 of 6 nodes failed, 1 may");
  await crew.obey("a3", "a4");
  await crew.pass(120);
  t.is(crew.job(job).state, "running");
  crew.jobs.resume(job.id, "ada");
  await crew.pass(1);
  await crew.obey("b1", "b2");
  t.is(crew.job(job).state, "failed");
});

test("a node that falls silent after its batch counts as failed", async (t) => {
  const crew = await createCrew({ a: 2 }, start);
  const job = crew.reboot({ rollout: { ...rollout, batch: 1, settleSeconds: 120 } });
  await crew.obey("a1");
  await crew.pass(75, ["a1"]);
  t.is(crew.job(job).paused?.reason, "1 of 2 nodes failed, 0 may");
  t.is(crew.task(job, "a1").reason, "done, but then not healthy: offline");
  await crew.pass(300);
  t.is(crew.shown(job), "a1 failed, a2 waiting");
});

test("nodes that were shut down are not missed after their batch", async (t) => {
  const crew = await createCrew({ a: 2 }, start);
  const request = { kind: "shutdown", parameters: { warnSeconds: 0 } };
  const job = crew.reboot({
    ...request,
    rollout: { ...rollout, batch: 1, settleSeconds: 0 },
  } as never);
  await crew.pass(1);
  crew.jobs.assignmentFor(crew.task(job, "a1").nodeId);
  await crew.pass(90, ["a1"]);
  t.is(crew.shown(job), "a1 done, a2 running");
});

test("limits per stack and per outlet hold within a batch", async (t) => {
  const crew = await createCrew({ a: 4, b: 2 }, start);
  const job = crew.reboot({
    rollout: { failures: 0, settleSeconds: 0, perOutlet: 1, perStack: 2 },
  });
  await crew.pass(1);
  t.is(crew.shown(job), "a1 running, a2 waiting, a3 running, a4 waiting, b1 running, b2 waiting");
  t.is(crew.job(job).waitsFor, "others beside it to end");
  await crew.obey("a1", "b1");
  await crew.pass(1);
  t.is(crew.shown(job), "a1 done, a2 running, a3 running, a4 waiting, b1 done, b2 running");
});

test("a job is paused and resumed by a person; what runs goes on", async (t) => {
  const crew = await createCrew({ a: 2 }, start);
  const first = crew.reboot({ nodes: [crew.nodes.byName("a1")?.id] as never });
  await crew.pass(1);
  const job = crew.reboot();
  await crew.pass(1);
  t.is(crew.shown(job), "a1 queued, a2 running");
  t.like(crew.jobs.pause(job.id, "ada", "lunch"), {
    paused: { by: "ada", reason: "lunch" },
    waitsFor: "paused by ada: lunch",
  });
  t.is(crew.shown(job), "a1 waiting, a2 running");
  await crew.obey("a1", "a2");
  await crew.pass(60);
  t.is(crew.job(first).state, "done");
  t.is(crew.shown(job), "a1 waiting, a2 done");
  const again = await crew.restart();
  again.jobs.resume(job.id, "bob");
  await again.pass(1);
  t.is(again.shown(job), "a1 running, a2 done");
  await again.obey("a1");
  t.is(again.job(job).state, "done");
  t.throws(() => again.jobs.pause(job.id, "ada", "late"), { instanceOf: ConflictError });
});

test("one node is left out of a job; the job is done without it", async (t) => {
  const crew = await createCrew({ a: 2 }, start);
  const job = crew.reboot({ rollout: { ...rollout, batch: 1, settleSeconds: 0 } });
  t.is(crew.jobs.cancelTask(crew.task(job, "a2").id, "ada").state, "cancelled");
  await crew.obey("a1");
  t.is(crew.shown(job), "a1 done, a2 cancelled");
  t.is(crew.job(job).state, "done");
  t.throws(() => crew.jobs.cancelTask(crew.task(job, "a1").id, "ada"), {
    instanceOf: ConflictError,
  });
});

test("what failed is tried again in a job of its own", async (t) => {
  const crew = await createCrew({ a: 3 }, start);
  const job = crew.reboot();
  await crew.fail("a2");
  await crew.obey("a1", "a3");
  t.is(crew.job(job).state, "failed");
  const again = crew.jobs.retry(job.id, "bob");
  t.like(again, { retryOf: job.id, createdBy: "bob", selector: "what failed of all" });
  await crew.obey("a2");
  t.is(crew.shown(again), "a2 done");
  t.throws(() => crew.jobs.retry(again.id, "bob"), { message: /no node failed/ });
});

test("a job is cancelled while it waits, while it is paused, and with tasks that run", async (t) => {
  const crew = await createCrew({ a: 4 }, start);
  const waits = crew.reboot({ notBefore: at("2026-11-21T14:00Z") });
  t.is(crew.jobs.cancel(waits.id, "ada").state, "cancelled");
  const job = crew.reboot({ rollout });
  await crew.obey("a1");
  crew.jobs.pause(job.id, "ada", "doubt");
  t.like(crew.jobs.cancel(job.id, "ada"), { state: "cancelled", cancelledBy: "ada" });
  t.is(crew.job(job).paused, undefined);
  t.is(crew.shown(job), "a1 done, a2 cancelled, a3 cancelled, a4 cancelled");
  await crew.pass(60);
  t.is(crew.shown(job), "a1 done, a2 cancelled, a3 cancelled, a4 cancelled");
});

const refused = [
  ["a deadline that has passed", { deadline: at("2026-11-21T11:00Z") }, /later than now/],
  [
    "a deadline before the beginning",
    { notBefore: at("2026-11-22T00:00Z"), deadline: at("2026-11-21T20:00Z") },
    /later than its beginning/,
  ],
  ["a window nobody knows", { window: "day" }, /no window "day": there is night/],
  ["a window that forbids", { window: "freeze" }, /window freeze forbids jobs/],
  ["a job nobody knows", { after: ["job_x"] as never }, /no job job_x/],
  ["a batch of nothing", { rollout: { batch: 0 } as never }, /rollout/],
  ["a batch of 200 %", { rollout: { batch: "200%" } as never }, /rollout/],
] as const;
for (const [title, request, message] of refused) {
  test(`refused: ${title}`, async (t) => {
    const crew = await createCrew({ a: 1 }, start);
    crew.store.windows.put(night);
    crew.store.windows.put({ ...night, name: "freeze", effect: "forbids" });
    t.throws(() => crew.reboot(request), { instanceOf: InvalidInputError, message });
    t.deepEqual(crew.store.jobs.list({ limit: 9 }), []);
  });
}

test("an image that a waiting job needs is known to the job", async (t) => {
  const crew = await createCrew({ a: 1 }, start);
  const job = crew.reboot({
    kind: "install",
    parameters: { image: digest, authorizedKeys: [] },
    notBefore: at("2026-11-22T00:00Z"),
  } as never);
  t.deepEqual(
    crew.store.jobs.unfinished().map(({ id }) => id),
    [job.id],
  );
});
