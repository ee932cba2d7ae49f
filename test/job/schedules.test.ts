import test from "ava";
import type { Schedule } from "#protocol/schedule.ts";
import { InvalidInputError } from "../../server/errors.ts";
import type { ScheduleRequest } from "../../server/job/schedules.ts";
import type { Crew } from "./crew.ts";
import { createCrew } from "./crew.ts";

const start = "2026-11-21T12:00:00Z"; // a Saturday
const weekly: ScheduleRequest = {
  name: "weekly",
  at: "sat 12:10",
  zone: "UTC",
  kind: "reboot",
  selector: "all",
  parameters: { warnSeconds: 0 },
  missed: "skip",
  overlap: "skip",
};
const late = 601; // the clock shows 12:10:01 then
const hour = 3600;
const week = 7 * 24 * hour;

const made = (crew: Crew) =>
  crew.store.jobs
    .list({ limit: 20 })
    .toReversed()
    .map((job) => new Date(job.createdAt).toISOString().slice(5, 16));
const find = (crew: Crew, name = "weekly") => crew.store.schedules.get(name) as Schedule;
const iso = (at: number | undefined) => at && new Date(at).toISOString().slice(0, 16);

test("a schedule makes a job each time it is due", async (t) => {
  const crew = await createCrew({ a: 1 }, start);
  const planned = crew.schedules.put({ ...weekly, at: "*/5 * * * *" }, "ada");
  t.is(iso(planned.due), "2026-11-21T12:05");
  await crew.pass(301);
  const [job] = crew.store.jobs.list({ limit: 1 });
  t.like(job, { kind: "reboot", selector: "all", schedule: "weekly", createdBy: "ada" });
  await crew.obey("a1");
  await crew.pass(300);
  t.deepEqual(made(crew), ["11-21T12:05", "11-21T12:10"]);
  t.is(iso(find(crew).due), "2026-11-21T12:15");
  t.is(find(crew).last?.jobId, crew.store.jobs.list({ limit: 1 })[0]?.id);
});

test("its nodes are those of that moment", async (t) => {
  const crew = await createCrew({ a: 2 }, start);
  crew.schedules.put({ ...weekly, selector: "tag:old" }, "ada");
  crew.nodes.update(crew.nodes.byName("a2")?.id ?? (t.fail() as never), { tags: ["old"] });
  await crew.pass(late);
  const [job] = crew.store.jobs.list({ limit: 1 });
  t.is(job && crew.shown(job), "a2 running");
});

test("a restart of some seconds over its time is not missing it", async (t) => {
  const before = await createCrew({ a: 1 }, start);
  before.schedules.put(weekly, "ada");
  await before.pass(late - 11);
  const crew = await before.restart(60);
  await crew.pass(1);
  t.deepEqual(made(crew), ["11-21T12:10"]);
});

const policies = [
  ["skip", ["12-12T12:10"], /^missed at Sat 2026-12-05 12:10 UTC: the server was not running$/],
  ["run-once", ["12-06T12:00", "12-12T12:10"], undefined],
] as const;
for (const [missed, jobs, reason] of policies) {
  test(`G66: with the server off over three times, ${missed} does so`, async (t) => {
    const before = await createCrew({ a: 1 }, start);
    before.schedules.put({ ...weekly, missed, overlap: "queue" }, "ada");
    const crew = await before.restart(15 * 24 * hour); // 21 and 28 November, 5 December
    await crew.pass(2);
    if (reason) t.regex(find(crew).last?.reason ?? "", reason);
    else t.truthy(find(crew).last?.jobId);
    t.is(iso(find(crew).last?.due), "2026-12-05T12:10");
    t.is(iso(find(crew).due), "2026-12-12T12:10");
    await crew.restart(week - 24 * hour + late);
    t.deepEqual(made(crew), [...jobs]);
  });
}

test("while its last job has not ended it is skipped, and says so", async (t) => {
  const crew = await createCrew({ a: 1 }, start);
  crew.schedules.put({ ...weekly, at: "*/5 * * * *", parameters: { warnSeconds: 3600 } }, "ada");
  await crew.pass(late);
  t.is(made(crew).length, 1);
  const [job] = crew.store.jobs.list({ limit: 1 });
  t.is(find(crew).last?.reason, `job ${job?.id} of the last time has not ended`);
  t.is(crew.store.audit.list({ limit: 1 })[0]?.what, "schedule skip");
});

test("a selector that matches no node then is told as an alarm, and the next time comes", async (t) => {
  const crew = await createCrew({ a: 1 }, start);
  crew.schedules.put({ ...weekly, selector: "state:failed" }, "ada");
  await crew.pass(late);
  t.deepEqual(crew.alarms, ['schedule weekly: "state:failed" matches no node']);
  t.is(find(crew).last?.reason, '"state:failed" matches no node');
  t.is(iso(find(crew).due), "2026-11-28T12:10");
});

test("its jobs wait for a window, go in batches, and are given up in time", async (t) => {
  const crew = await createCrew({ a: 2 }, start);
  crew.store.windows.put({
    name: "night",
    effect: "allows",
    opens: "daily 12:20",
    minutes: 10,
    zone: "UTC",
  });
  crew.schedules.put(
    {
      ...weekly,
      window: "night",
      rollout: { batch: 1, failures: 0, settleSeconds: 0 },
      withinMinutes: 30,
      parameters: { warnSeconds: 3600 },
    },
    "ada",
  );
  await crew.pass(late);
  const [job] = crew.store.jobs.list({ limit: 1 });
  if (!job) return t.fail("no job");
  t.is(crew.job(job).waitsFor, "window night opens Sat 2026-11-21 12:20 UTC");
  await crew.pass(600);
  t.is(crew.shown(job), "a1 running, a2 waiting");
  await crew.pass(1200);
  t.is(crew.shown(job), "a1 running, a2 cancelled");
});

test("a paused schedule makes nothing and makes up for nothing; a removed one neither", async (t) => {
  const crew = await createCrew({ a: 1 }, start);
  crew.schedules.put(weekly, "ada");
  crew.schedules.setPaused("weekly", true);
  await crew.pass(late);
  t.deepEqual(made(crew), []);
  t.is(iso(crew.schedules.setPaused("weekly", false).due), "2026-11-28T12:10");
  await crew.pass(60);
  t.deepEqual(made(crew), []);
  crew.schedules.remove("weekly");
  const after = await crew.restart(week);
  await after.pass(60);
  t.deepEqual(made(after), []);
});

test("a schedule of one time is due once", async (t) => {
  const crew = await createCrew({ a: 1 }, start);
  crew.schedules.put({ ...weekly, at: "2026-11-21 12:10" }, "ada");
  await crew.pass(late + 60);
  t.deepEqual(made(crew), ["11-21T12:10"]);
  t.is(find(crew).due, undefined);
});

test("a schedule is run at once by hand, and stays due", async (t) => {
  const crew = await createCrew({ a: 1 }, start);
  crew.schedules.put(weekly, "ada");
  t.like(crew.schedules.run("weekly", "bob"), { createdBy: "bob", schedule: "weekly" });
  t.is(iso(find(crew).due), "2026-11-21T12:10");
});

test("killed between its job and its next time: both are there, or neither", async (t) => {
  const crew = await createCrew({ a: 1 }, start);
  crew.schedules.put(weekly, "ada");
  const { put } = crew.store.settings;
  let failures = 3;
  Object.assign(crew.store.settings, {
    put(name: string, value: string) {
      if (failures-- > 0) throw new Error("killed here");
      put(name, value);
    },
  });
  await crew.pass(late + 1);
  t.deepEqual(made(crew), []);
  t.is(iso(find(crew).due), "2026-11-21T12:10");
  await crew.pass(3);
  t.deepEqual(made(crew).length, 1);
  t.is(iso(find(crew).due), "2026-11-28T12:10");
});

test("a machine whose clock was never set makes nothing", async (t) => {
  const crew = await createCrew({ a: 1 }, "1970-01-01T00:00:00Z");
  crew.schedules.put({ ...weekly, at: "* * * * *" }, "ada");
  await crew.pass(300);
  t.deepEqual(made(crew), []);
});

const steps = [
  ["from a wrong year", -10 * 365 * 24 * hour, "2028-11-25T12:10"],
  ["by two minutes, over the time that was dealt with", -120, "2038-11-27T12:10"],
] as const;
for (const [title, step, due] of steps) {
  test(`the clock is set back ${title}: the next time is planned anew, none comes twice`, async (t) => {
    const crew = await createCrew({ a: 1 }, "2038-11-20T12:00:00Z"); // a Saturday
    crew.schedules.put(weekly, "ada");
    await crew.pass(late + 30);
    t.is(made(crew).length, 1);
    const { now } = crew.clock;
    Object.assign(crew.clock, { now: () => now() + step * 1000 });
    await crew.pass(300);
    t.is(made(crew).length, 1);
    t.is(iso(find(crew).due), due);
  });
}

const refused = [
  ["a recurrence", { at: "sometimes" }, /is no recurrence/],
  ["a zone", { zone: "Mars/Olympus" }, /is no time zone/],
  ["a selector", { selector: "colour:red" }, /is no selector/],
  ["parameters", { parameters: { warnSeconds: -1 } }, /parameters\/warnSeconds/],
  ["an image", { kind: "install", parameters: { image: "beos" } }, /no image "beos"/],
  ["a window", { window: "night" }, /no window "night"/],
  ["a roll-out", { rollout: { canary: 0 } as never }, /rollout\/canary/],
] as const;
for (const [title, change, message] of refused) {
  test(`a wrong ${title.replace(/^an? /, "")} is refused when the schedule is made`, async (t) => {
    const crew = await createCrew({ a: 1 }, start);
    t.throws(() => crew.schedules.put({ ...weekly, ...change }, "ada"), {
      instanceOf: InvalidInputError,
      message,
    });
    t.is(crew.store.schedules.get("weekly"), undefined);
  });
}
