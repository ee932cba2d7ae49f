import test from "ava";
import { milliseconds } from "#protocol/brand.ts";
import { createGate, createSequencer } from "../../server/power/sequencer.ts";
import { manualClock, settle } from "../support/manual-clock.ts";

test("forty-eight nodes, four at once, one second: never more than four within a second", async (t) => {
  const clock = manualClock();
  const sequencer = createSequencer({ atOnce: 4, every: milliseconds(1000), clock });
  const at: number[] = [];
  const all = Array.from({ length: 48 }, () =>
    sequencer.turn(1).then(() => at.push(clock.monotonic())),
  );
  await clock.advance(60_000);
  await Promise.all(all);
  t.is(at.length, 48);
  t.is(at.at(-1), 11_000);
  const crowd = at.map((from) => at.filter((one) => one >= from && one < from + 1000).length);
  t.is(Math.max(...crowd), 4);
});

test("an outlet with more nodes than are allowed at once goes alone", async (t) => {
  const clock = manualClock();
  const sequencer = createSequencer({ atOnce: 2, every: milliseconds(1000), clock });
  const at: number[] = [];
  const all = [4, 1, 1].map((nodes) =>
    sequencer.turn(nodes).then(() => at.push(clock.monotonic())),
  );
  await clock.advance(5000);
  await Promise.all(all);
  t.deepEqual(at, [0, 1000, 1000]);
});

test("a gate lets some in at once, by key, and the next one when one has failed", async (t) => {
  const gate = createGate(2);
  const ends = [0, 1, 2].map(() => Promise.withResolvers<void>());
  const running: string[] = [];
  const enter = (key: string, index: number) =>
    gate.pass(key, async () => {
      running.push(`${key}${index}`);
      await ends[index]?.promise;
    });
  const all = [enter("a", 0), enter("a", 1), enter("a", 2), enter("b", 2)];
  await settle();
  t.deepEqual(running, ["a0", "a1", "b2"]);
  ends[0]?.reject(new Error("lost"));
  await t.throwsAsync(all[0] ?? Promise.resolve(), { message: "lost" });
  await settle();
  t.deepEqual(running, ["a0", "a1", "b2", "a2"]);
  ends[1]?.resolve();
  ends[2]?.resolve();
  await Promise.all(all.slice(1));
});
