import test from "ava";
import { ConflictError, InvalidInputError, NotFoundError } from "../../../server/errors.ts";
import { type Board, board, createWorld, macOf, ownRack, sharedRack, type World } from "./world.ts";

async function learn(world: World): Promise<void> {
  world.learning().start({ rack: "r" }, "ada");
  await world.untilEnded();
}

/** `slot: MAC address, host name, address` of every node in a slot. */
function places(world: World): readonly string[] {
  return world.store.nodes
    .list()
    .filter(({ slot }) => slot !== undefined)
    .map(({ slot, mac, name }) => {
      const address = world.store.reservations.byMac(mac)?.address;
      return `${slot?.stack}/${slot?.slot}: ${mac.slice(-2)} ${name} ${address?.slice(5)}`;
    })
    .toSorted();
}

const flags = (world: World) =>
  world
    .learning()
    .status()
    .flagged.map(({ reason, slot, mac }) => [reason, slot && `${slot.stack}/${slot.slot}`, mac]);

/** Two slots with an outlet each, learned. */
async function learned(boards: readonly Board[]): Promise<World> {
  const world = createWorld({ rack: ownRack(1, 2), boards });
  await learn(world);
  return world;
}

test("a board in another's slot is asked about, and nothing is changed unasked", async (t) => {
  const world = await learned([board(1, "s1/1"), board(2, "s1/2")]);
  const before = places(world);
  world.boards.splice(0, 2, board(9, "s1/1"), board(2, "s1/2"));
  await learn(world);
  t.deepEqual(flags(world), [["swapped", "s1/1", macOf(9)]]);
  t.deepEqual(places(world), before);
  t.regex(
    world.learning().status().flagged[0]?.text ?? "",
    /slot r\/s1\/1 belongs to b8:27:eb:00:00:01 \(10\.77\.0\.10\), but .*:09 was heard in it: exchanged\?/,
  );
});

test("confirmed: the successor has slot, name and address, its predecessor is retired", async (t) => {
  const world = await learned([board(1, "s1/1"), board(2, "s1/2")]);
  world.boards.splice(0, 2, board(9, "s1/1"), board(2, "s1/2"));
  await learn(world);
  const { done } = world.learning().confirm([macOf(9)]);
  t.deepEqual(done, ["b8:27:eb:00:00:09 is in r/s1/1 and has 10.77.0.10"]);
  t.deepEqual(places(world), ["s1/1: 09 r-s1-1 .0.10", "s1/2: 02 r-s1-2 .0.11"]);
  t.is(world.store.nodes.byMac(macOf(1))?.state, "retired");
  t.deepEqual(flags(world), []);
});

test("kept: everything stays, and it is asked no more", async (t) => {
  const world = await learned([board(1, "s1/1"), board(2, "s1/2")]);
  const before = places(world);
  world.boards.splice(0, 2, board(9, "s1/1"), board(2, "s1/2"));
  await learn(world);
  world.learning().keep(["s1/1"]);
  t.deepEqual(places(world), before);
  t.deepEqual(flags(world), []);
});

test("two boards that changed places are asked about, and change them in one answer", async (t) => {
  const world = await learned([board(1, "s1/1"), board(2, "s1/2")]);
  world.boards.splice(0, 2, board(2, "s1/1"), board(1, "s1/2"));
  await learn(world);
  t.deepEqual(flags(world), [
    ["moved", "s1/1", macOf(2)],
    ["moved", "s1/2", macOf(1)],
  ]);
  world.learning().confirm(["all"]);
  t.deepEqual(
    places(world),
    ["s1/1: 02 r-s1-1 .0.11", "s1/2: 01 r-s1-2 .0.10"],
    "names follow the slots, addresses the boards",
  );
  await learn(world);
  t.deepEqual(flags(world), []);
});

test("an address of the rack file stays with its slot when boards change places", async (t) => {
  const rack = ownRack(1, 2, (_, slot) => `, address: 10.77.0.2${slot}`);
  const world = createWorld({ rack, boards: [board(1, "s1/1"), board(2, "s1/2")] });
  await learn(world);
  world.learning().swap("s1/1", "r/s1/2");
  t.deepEqual(places(world), ["s1/1: 02 r-s1-1 .0.21", "s1/2: 01 r-s1-2 .0.22"]);
});

test("a board that moved into an empty slot leaves its old one empty", async (t) => {
  const world = await learned([board(1, "s1/1")]);
  world.boards.splice(0, 1, board(1, "s1/2"));
  await learn(world);
  t.deepEqual(flags(world).slice(-1), [["moved", "s1/2", macOf(1)]]);
  world.learning().confirm(["s1/2"]);
  t.deepEqual(places(world), ["s1/2: 01 r-s1-2 .0.10"]);
});

test("boards of one outlet: swapped and confirmed, and the next run asks no more", async (t) => {
  const world = createWorld({
    rack: sharedRack(1, 3),
    boards: [1, 2, 3].map((number) => board(number, "s1", { delay: 5000 + number })),
  });
  await learn(world);
  t.is(flags(world).filter(([reason]) => reason === "unconfirmed").length, 3);
  world.learning().swap("s1/1", "s1/3");
  t.deepEqual(places(world), [
    "s1/1: 03 r-s1-1 .0.12",
    "s1/2: 02 r-s1-2 .0.11",
    "s1/3: 01 r-s1-3 .0.10",
  ]);
  t.deepEqual(flags(world), [["unconfirmed", "s1/2", macOf(2)]]);
  await learn(world);
  t.deepEqual(flags(world), [["unconfirmed", "s1/2", macOf(2)]], "what nobody confirmed stays so");
  world.learning().confirm(["s1"]);
  t.deepEqual(flags(world), []);
  await learn(world);
  t.deepEqual(flags(world), []);
});

test("a stranger is placed by a person who found it", async (t) => {
  const stranger = board(66, undefined, { delay: 1000, period: 9000, attempts: 10_000 });
  const world = await learned([board(1, "s1/1"), stranger]);
  world.learning().place(macOf(66), "s1/2");
  t.deepEqual(places(world), ["s1/1: 01 r-s1-1 .0.10", "s1/2: 42 r-s1-2 .0.11"]);
  t.deepEqual(flags(world), []);
});

test("what is no answer is refused with what could be one", async (t) => {
  const world = createWorld({
    rack: ownRack(1, 2),
    boards: [board(1, "s1/1"), board(2, "s1/2")],
  });
  const learning = world.learning();
  t.throws(() => learning.confirm(["s1"]), { instanceOf: NotFoundError });
  learning.start({ rack: "r" }, "ada");
  t.throws(() => learning.confirm(["s1"]), { instanceOf: ConflictError });
  await world.untilEnded();
  const refused: readonly (readonly [work: () => unknown, message: RegExp])[] = [
    [() => learning.confirm(["s9"]), /nothing is asked about "s9"/],
    [() => learning.keep(["s1/1"]), /nothing is asked about "s1\/1"/],
    [() => learning.swap("s1/1", "s1/9"), /rack r has no slot "s1\/9": write STACK\/SLOT/],
    [() => learning.swap("s1/1", "s1/1"), /are one slot/],
    [() => learning.place(macOf(77), "s1/9"), /rack r has no slot/],
  ];
  for (const [work, message] of refused) {
    t.throws(work, { instanceOf: InvalidInputError, message });
  }
  t.throws(() => learning.place(macOf(77), "s1/1"), {
    instanceOf: ConflictError,
    message: /slot r\/s1\/1 has b8:27:eb:00:00:01/,
  });
});

test("a known board with another network interface is asked about by its serial number", async (t) => {
  const world = await learned([board(1, "s1/1", { serial: "a1b2c3d4" })]);
  world.boards.splice(0, 1, board(9, "s1/2", { serial: "A1B2C3D4" }));
  await learn(world);
  t.deepEqual(flags(world).slice(-1), [["moved", "s1/2", macOf(9)]]);
  t.regex(
    world.learning().status().flagged.at(-1)?.text ?? "",
    /says the serial number or UUID of b8:27:eb:00:00:01 in slot r\/s1\/1: moved, with another/,
  );
  world.learning().confirm([macOf(9)]);
  t.deepEqual(places(world), ["s1/2: 09 r-s1-2 .0.10"]);
  t.is(world.store.nodes.byMac(macOf(1))?.state, "retired");
});

test("a serial number that several boards have is no identity", async (t) => {
  const world = await learned([board(1, "s1/1", { serial: "00000001" })]);
  world.boards.push(board(2, "s1/2", { serial: "00000001" }));
  await learn(world);
  t.deepEqual(flags(world), []);
  t.is(places(world).length, 2);
});

test("another computer behind a known MAC address is held back and flagged", async (t) => {
  const world = await learned([board(1, "s1/1", { serial: "a1b2c3d4" }), board(2, "s1/2")]);
  world.boards.splice(0, 1, board(1, "s1/1", { serial: "ffff0001" }));
  await learn(world);
  t.deepEqual(flags(world), [["swapped", "s1/1", macOf(1)]]);
  t.true(world.store.nodes.byMac(macOf(1))?.quarantined);
});
