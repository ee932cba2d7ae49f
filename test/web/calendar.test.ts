import test from "ava";
import type { CalendarEntry } from "#protocol/schedule.ts";
import { momentIn, rangeOf, untilText, weekOf } from "../../web/state/calendar.ts";

const at = (iso: string) => Date.parse(iso) as CalendarEntry["at"];
const now = at("2026-11-21T23:30Z");
const night: CalendarEntry = {
  kind: "window",
  name: "night",
  zone: "UTC",
  at: at("2026-11-22T22:00Z"),
  until: at("2026-11-24T02:00Z"),
};
const run: CalendarEntry = {
  kind: "schedule",
  name: "weekly",
  zone: "UTC",
  at: at("2026-11-22T03:00Z"),
  text: "reboot of all",
};

/** `22: 03:00 weekly`. */
const linesOf = (entries: readonly CalendarEntry[], week: number, zone: string) =>
  weekOf(entries, { week, now, zone }).flatMap(({ date, entries: own }) =>
    own.map(({ entry, times }) => `${date.slice(8)}: ${times} ${entry.name}`),
  );

test("a window is on each day it is open, a run on its own", (t) => {
  t.deepEqual(linesOf([run, night], 0, "UTC"), [
    "22: 03:00 weekly",
    "22: from 22:00 night",
    "23: all day night",
    "24: until 02:00 night",
  ]);
});

test("another zone has other days and times, from its own today on", (t) => {
  t.deepEqual(linesOf([run, night], 0, "Asia/Tokyo"), [
    "22: 12:00 weekly",
    "23: from 07:00 night",
    "24: until 11:00 night",
  ]);
  t.is(weekOf([], { week: 0, now, zone: "UTC" })[0]?.date, "2026-11-21");
  t.is(weekOf([], { week: 0, now, zone: "Asia/Tokyo" })[0]?.title, "Sun 22 Nov");
});

test("what ends at midnight is not on the day that begins then", (t) => {
  const until = { ...night, until: at("2026-11-23T00:00Z") };
  t.deepEqual(linesOf([until], 0, "UTC"), ["22: 22:00–00:00 night"]);
});

test("the next week follows without a day between, whatever the clocks do", (t) => {
  const before = at("2026-10-24T12:00Z"); // Europe's clocks go back on the 25th
  const days = [0, 1].flatMap((week) =>
    weekOf([], { week, now: before, zone: "Europe/Madrid" }).map(({ date }) => date),
  );
  t.is(new Set(days).size, 14);
  t.deepEqual([days[0], days[7], days[13]], ["2026-10-24", "2026-10-31", "2026-11-06"]);
});

test("what is asked of the server covers the week in every zone", (t) => {
  for (const zone of ["Pacific/Kiritimati", "UTC", "Pacific/Pago_Pago"]) {
    const { from, days } = rangeOf(0, now, zone);
    const first = weekOf([], { week: 0, now, zone })[0]?.date;
    t.true(from <= at(`${first}T00:00Z`) - 14 * 3_600_000, zone);
    t.true(from + days * 86_400_000 >= at(`${first}T00:00Z`) + 7 * 86_400_000 + 12 * 3_600_000);
  }
});

const words = [
  ["2026-11-21T23:50Z", "in 20 minutes"],
  ["2026-11-21T23:30Z", "in 0 minutes"],
  ["2026-11-22T04:30Z", "in 5 hours"],
  ["2026-11-24T23:30Z", "in 3 days"],
] as const;
for (const [moment, expected] of words) {
  test(`${moment} is ${expected}`, (t) => t.is(untilText(at(moment), now), expected));
}

test("a moment names its zone where that is not the viewer's", (t) => {
  t.is(momentIn(run.at, "UTC", "UTC"), "Sun 22 Nov, 03:00");
  t.is(momentIn(run.at, "Asia/Tokyo", "UTC"), "Sun 22 Nov, 12:00 in Asia/Tokyo");
});
