/** D41, E52: durations of a process that stood still, or could hear nobody. */

import test from "ava";
import { milliseconds } from "#protocol/brand.ts";
import { holdableClock, sleepOut } from "../server/clock.ts";
import { manualClock } from "./support/manual-clock.ts";
import { stoppable } from "./support/standstill.ts";

test("what the process stood still is in no duration, and is told", async (t) => {
  const { clock, told, standStill } = stoppable();
  await clock.advance(4000);
  await standStill(3_600_000);
  t.is(Number(clock.monotonic()), 4000);
  await clock.advance(4000);
  t.is(Number(clock.monotonic()), 8000);
  t.deepEqual(told, [3_600_000]);
});

test("a process that is only busy has its durations as they are", async (t) => {
  const { clock, told, standStill } = stoppable();
  await standStill(9000);
  t.is(Number(clock.monotonic()), 9000);
  t.deepEqual(told, []);
});

test("after the end nothing is looked at any more", async (t) => {
  const { clock, told, end } = stoppable();
  end();
  await clock.advance(60_000);
  t.deepEqual(told, []);
});

test("a sleep lasts as long as its clock counts, however early its timer is due", async (t) => {
  const { clock, standStill } = stoppable();
  let isOver = false;
  void sleepOut(clock, milliseconds(60_000)).then(() => {
    isOver = true;
  });
  await clock.advance(20_000);
  await standStill(3_600_000);
  t.false(isOver);
  await clock.advance(39_999);
  t.false(isOver);
  await clock.advance(1);
  t.true(isOver);
});

test("a sleep ends at once when it is not wanted any more", async (t) => {
  const { clock } = stoppable();
  const end = new AbortController();
  const sleep = sleepOut(clock, milliseconds(60_000), end.signal);
  end.abort();
  await sleep;
  t.is(Number(clock.monotonic()), 0);
});

test("E52: a clock that is held counts nothing, and goes on from there", async (t) => {
  const real = manualClock();
  const clock = holdableClock(real);
  await real.advance(4000);
  clock.hold();
  await real.advance(600_000);
  clock.hold();
  t.is(Number(clock.monotonic()), 4000);
  clock.release();
  t.is(Number(clock.monotonic()), 4000);
  await real.advance(1000);
  clock.release();
  t.is(Number(clock.monotonic()), 5000);
});

test("E52: who sleeps by a clock that is held looks once a second, not a thousand times", async (t) => {
  const real = manualClock();
  const clock = holdableClock(real);
  let sleeps = 0;
  const counted = {
    ...clock,
    sleep: (...given: Parameters<typeof clock.sleep>) => {
      sleeps += 1;
      return clock.sleep(...given);
    },
  };
  clock.hold();
  let isOver = false;
  void sleepOut(counted, milliseconds(1)).then(() => {
    isOver = true;
  });
  await real.advance(60_000);
  t.false(isOver);
  t.true(sleeps > 55 && sleeps < 65, `${sleeps}`);
  clock.release();
  await real.advance(1001);
  t.true(isOver);
});
