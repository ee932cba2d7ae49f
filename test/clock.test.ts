/** D41: durations of a process that stood still. */

import test from "ava";
import { milliseconds } from "#protocol/brand.ts";
import { sleepOut } from "../server/clock.ts";
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
