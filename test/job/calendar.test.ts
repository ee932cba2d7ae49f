import test, { type ExecutionContext } from "ava";
import type { Instant } from "#protocol/brand.ts";
import type { Schedule, Window } from "#protocol/schedule.ts";
import { calendarOf } from "../../server/job/calendar.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { exampleJob } from "../store/contract.ts";

const at = (iso: string) => Date.parse(iso) as Instant;
const window: Window = {
  name: "night",
  effect: "allows",
  opens: "daily 22:00",
  minutes: 240,
  zone: "UTC",
};
const schedule = {
  name: "weekly",
  at: "daily 03:00",
  zone: "UTC",
  kind: "reboot",
  selector: "all",
  parameters: {},
  missed: "skip",
  overlap: "skip",
  isPaused: false,
  createdBy: "anna",
  createdAt: at("2026-11-01T00:00Z"),
  due: at("2026-11-22T03:00Z"),
} satisfies Schedule;

function startStore(t: ExecutionContext) {
  const store = openSqliteStore(":memory:");
  t.teardown(() => store.close());
  return store;
}

test("a window that opened the day before is on the calendar until it closes", (t) => {
  const store = startStore(t);
  store.windows.put(window);
  const from = at("2026-11-22T01:00Z");
  const { entries } = calendarOf(store, { from, until: at("2026-11-22T12:00Z"), now: from });
  t.deepEqual(entries, [
    {
      kind: "window",
      name: "night",
      zone: "UTC",
      at: at("2026-11-21T22:00Z"),
      until: at("2026-11-22T02:00Z"),
    },
  ]);
});

test("a schedule makes nothing in the past, one that is paused nothing at all", (t) => {
  const store = startStore(t);
  store.schedules.put(schedule);
  store.schedules.put({ ...schedule, name: "paused", isPaused: true });
  const { entries } = calendarOf(store, {
    from: at("2026-11-20T00:00Z"),
    until: at("2026-11-24T00:00Z"),
    now: at("2026-11-22T00:00Z"),
  });
  t.deepEqual(
    entries.map(({ name, at: moment }) => [name, new Date(moment).toISOString()]),
    [
      ["weekly", "2026-11-22T03:00:00.000Z"],
      ["weekly", "2026-11-23T03:00:00.000Z"],
    ],
  );
});

test("a job that waits for its time is there, one that waits for nothing is not", (t) => {
  const store = startStore(t);
  const notBefore = at("2026-11-22T05:00Z");
  store.jobs.put({ ...exampleJob("job_1"), notBefore, zone: "Europe/Madrid" });
  store.jobs.put(exampleJob("job_2"));
  const from = at("2026-11-22T00:00Z");
  const { entries } = calendarOf(store, { from, until: at("2026-11-23T00:00Z"), now: from });
  t.is(entries.length, 1);
  t.like(entries[0], { kind: "job", name: "job_1", zone: "Europe/Madrid", at: notBefore });
});

test("what comes every minute is cut short, and that is said", (t) => {
  const store = startStore(t);
  store.windows.put({ ...window, opens: "* * * * *", minutes: 1 });
  const from = at("2026-11-22T00:00Z");
  const { entries, isWhole } = calendarOf(store, {
    from,
    until: at("2026-11-23T00:00Z"),
    now: from,
  });
  t.is(entries.length, 100);
  t.false(isWhole);
});
