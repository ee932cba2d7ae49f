/**
 * G65: every change of the clocks of every IANA zone from 2024 to 2030, against an
 * oracle that walks minute by minute over offsets it got from Intl.
 */

import { fc } from "@fast-check/ava";
import test from "ava";
import { type Instant, instant } from "#protocol/brand.ts";
import type { Window } from "#protocol/schedule.ts";
import { nextAfter, parseRecurrence } from "../../server/job/recurrence.ts";
import { closesAt } from "../../server/job/window.ts";

const minute = 60_000;
const day = 24 * 60 * minute;
const first = Date.UTC(2024, 0, 1);
const last = Date.UTC(2031, 0, 1);
const around = 30 * 60; // minutes before and after a change

interface Change {
  readonly zone: string;
  readonly at: number;
  /** Minutes. */
  readonly before: number;
  readonly after: number;
}

function offsetsOf(zone: string): (at: number) => number {
  const format = new Intl.DateTimeFormat("en", { timeZone: zone, timeZoneName: "longOffset" });
  return (at) => {
    const [, sign, hours = "0", minutes = "0"] =
      /GMT([+-])(\d\d):(\d\d)/.exec(format.format(at)) ?? [];
    return (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
  };
}

/** One zone for each change there is: many zones share theirs. */
function changesOf(zone: string): readonly Change[] {
  const offsetAt = offsetsOf(zone);
  const changes: Change[] = [];
  let before = offsetAt(first);
  for (let at = first; at < last; at += day) {
    const after = offsetAt(at + day);
    if (after === before) continue;
    let [low, high] = [at / minute, (at + day) / minute];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (offsetAt(middle * minute) === before) low = middle;
      else high = middle;
    }
    changes.push({ zone, at: high * minute, before, after });
    before = after;
  }
  return changes;
}

const zones = Intl.supportedValuesOf("timeZone");
const distinct = new Map(
  zones.flatMap(changesOf).map((one) => [`${one.at} ${one.before} ${one.after}`, one]),
);

interface Wish {
  readonly minutes: readonly number[];
  readonly hours: readonly number[] | "*";
  readonly weekdays: readonly number[] | "*";
}
const numbers = (max: number, maxLength: number) =>
  fc.uniqueArray(fc.nat(max), { minLength: 1, maxLength });
const wishes: fc.Arbitrary<Wish> = fc.record({
  minutes: numbers(59, 3),
  // Most clocks change between midnight and three.
  hours: fc.oneof(numbers(3, 2), numbers(23, 3), fc.constant("*" as const)),
  weekdays: fc.oneof(fc.constant("*" as const), numbers(6, 4)),
});
const textOf = ({ minutes, hours, weekdays }: Wish) =>
  `${minutes.join()} ${hours === "*" ? "*" : hours.join()} * * ${weekdays === "*" ? "*" : weekdays.join()}`;

function isMeant({ minutes, hours, weekdays }: Wish, wall: number): boolean {
  const date = new Date(wall * minute);
  return (
    minutes.includes(date.getUTCMinutes()) &&
    (hours === "*" || hours.includes(date.getUTCHours())) &&
    (weekdays === "*" || weekdays.includes(date.getUTCDay()))
  );
}

/** Walks the minutes; what the wall clock jumps over counts at the end of the jump, what it repeats does not. */
function expected(wish: Wish, { at, before, after }: Change): readonly number[] {
  const times: number[] = [];
  let shown = at / minute - around + before - 1;
  for (let now = at / minute - around; now < at / minute + around; now++) {
    const wall = now + (now * minute < at ? before : after);
    let isDue = isMeant(wish, wall) && (wish.hours === "*" || wall > shown);
    if (wish.hours !== "*") {
      for (let missed = shown + 1; missed < wall; missed++) isDue ||= isMeant(wish, missed);
    }
    if (isDue) times.push(now * minute);
    shown = Math.max(shown, wall);
  }
  return times;
}

function found(wish: Wish, { zone, at }: Change): readonly number[] {
  const recurrence = parseRecurrence(textOf(wish));
  const times: number[] = [];
  let after = instant(at - (around * minute + 1));
  for (;;) {
    const next = nextAfter(recurrence, zone, after);
    if (next === undefined || next >= at + around * minute) return times;
    times.push(next);
    after = next;
  }
}

test("G65: at every change of clocks each time comes once", (t) => {
  t.true(zones.length > 400 && distinct.size > 300, `${zones.length} ${distinct.size}`);
  const changes = [...distinct.values()];
  const seeded = fc.sample(wishes, { seed: 2026, numRuns: changes.length * 8 });
  changes.forEach((change, index) => {
    for (const wish of seeded.slice(index * 8, index * 8 + 8)) {
      const name = `${textOf(wish)} in ${change.zone} at ${new Date(change.at).toISOString()}`;
      t.deepEqual(found(wish, change), expected(wish, change), name);
    }
  });
  t.log(`${zones.length} zones, ${distinct.size} different changes, 8 recurrences each`);
});

test("a window is open for its minutes from each of its times on, and at no other moment", (t) => {
  const changes = [...distinct.values()];
  const seeded = fc.sample(wishes, { seed: 2027, numRuns: changes.length });
  changes.forEach((change, index) => {
    const wish = seeded[index] as Wish;
    const minutes = 1 + (index % 200);
    const window: Window = {
      name: "w",
      effect: "allows",
      opens: textOf(wish),
      minutes,
      zone: change.zone,
    };
    const openings = expected(wish, change);
    for (let step = -around + 200; step < around; step += 13) {
      const now = (change.at + step * minute) as Instant;
      const isOpen = openings.some((from) => from <= now && now < from + minutes * minute);
      t.is(closesAt(window, now) !== undefined, isOpen, `${textOf(wish)} in ${change.zone}`);
    }
  });
});
