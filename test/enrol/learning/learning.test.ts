import test from "ava";
import type { MacAddress } from "#protocol/brand.ts";
import { board, createWorld, macOf, ownRack, sharedRack, type World } from "./world.ts";

/** MAC address or state of each slot, in rack order. */
function slots(world: World): readonly string[] {
  return world
    .learning()
    .status()
    .slots.map((slot) => (slot.state === "heard" ? slot.mac : slot.state));
}

const flags = (world: World) =>
  world
    .learning()
    .status()
    .flagged.map(({ reason, slot, stack, mac }) => [
      reason,
      slot ? `${slot.stack}/${slot.slot}` : stack,
      mac,
    ]);

const strings = (macs: readonly MacAddress[]): readonly string[] => macs;

test("each slot gets the board that was heard twice while its outlet was on", async (t) => {
  const world = createWorld({
    rack: ownRack(2, 2),
    boards: [board(1, "s1/1"), board(2, "s1/2"), board(3, "s2/1"), board(4, "s2/2")],
  });
  world.learning().start({ rack: "r" }, "ada");
  await world.untilEnded();
  t.is(world.learning().status().state, "done");
  t.deepEqual(slots(world), strings([1, 2, 3, 4].map(macOf)));
  t.deepEqual(flags(world), []);
  t.deepEqual(world.lit(), ["s1/1", "s1/2", "s2/1", "s2/2"]);
  t.is(world.store.nodes.byMac(macOf(3))?.name, "r-s2-1");
  t.is(String(world.store.reservations.byMac(macOf(3))?.address), "10.77.0.12");
  t.true(world.opened.includes(macOf(4)), "it may enrol");
});

test("a stack with one outlet: in the order heard, flagged until confirmed", async (t) => {
  const world = createWorld({
    rack: sharedRack(2, 2),
    boards: [
      board(1, "s1", { delay: 9000 }),
      board(2, "s1"),
      board(3, "s2"),
      board(4, "s2", { delay: 7000 }),
    ],
  });
  world.learning().start({ rack: "r" }, "ada");
  await world.untilEnded();
  t.deepEqual(slots(world), strings([2, 1, 3, 4].map(macOf)));
  t.deepEqual(
    flags(world).map(([reason, slot]) => [reason, slot]),
    ["s1/1", "s1/2", "s2/1", "s2/2"].map((slot) => ["unconfirmed", slot]),
  );
});
