import { join } from "node:path";
import test from "ava";
import type { MacAddress } from "#protocol/brand.ts";
import { parseRackFile } from "../../../server/rack/rack-file.ts";
import { exampleJob, exampleTask } from "../../store/contract.ts";
import { temporaryDirectory } from "../../support/temporary.ts";
import {
  board,
  createWorld,
  type Death,
  macOf,
  ownRack,
  sharedRack,
  subnet,
  type World,
} from "./world.ts";

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
  t.true(world.windows.includes(macOf(4)), "it may enrol");
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

const other = { ...subnet, cidr: "10.88.0.0/24" };
const named = `subnet: ${subnet.cidr}`;
const namings = [
  ["rack", sharedRack(2, 2).replace("stacks:", `${named}\nstacks:`)],
  ["stack", sharedRack(2, 2).replaceAll("{ name: s", `{ ${named}, name: s`)],
] as const;
for (const [whose, rack] of namings) {
  test(`a board that asks in another subnet than its ${whose}'s is flagged, and gets no slot`, async (t) => {
    const world = createWorld({
      subnets: [subnet, other],
      rack,
      boards: [board(1, "s1", { subnet: other }), board(2, "s1"), board(3, "s2"), board(4, "s2")],
    });
    world.learning().start({ rack: "r" }, "ada");
    await world.untilEnded();
    t.is(world.store.nodes.byMac(macOf(1))?.slot, undefined);
    t.is(world.store.reservations.byMac(macOf(1)), undefined);
    t.deepEqual(world.store.nodes.byMac(macOf(2))?.slot, { rack: "r", stack: "s1", slot: "1" });
    const { flagged } = world.learning().status();
    const [flag] = flagged.filter(({ reason }) => reason === "cabling");
    t.like(flag, { stack: "s1", mac: macOf(1) });
    t.regex(flag?.text ?? "", /asks in 10\.88\.0\.0\/24, but the rack file says 10\.77\.0\.0\/24/);
  });
}

test("a late board is dark and flagged until the end, and placed when it comes alone", async (t) => {
  const late = board(1, "s1/1", { delay: 200_000 });
  const world = createWorld({ rack: ownRack(1, 2), boards: [late, board(2, "s1/2")] });
  world.learning().start({ rack: "r" }, "ada");
  await world.clock.advance(155_000);
  t.deepEqual(flags(world), [["late", "s1/1", undefined]]);
  t.deepEqual(world.lit(), ["s1/2"]);
  await world.untilEnded();
  t.deepEqual(slots(world), strings([macOf(1), macOf(2)]));
  t.deepEqual(flags(world), [["late", "s1/1", macOf(1)]]);
});

test("a board that hangs at its first power-on gets a second, and a third", async (t) => {
  const hanging = board(1, "s1/1", { hangsAt: [1, 2] });
  const dead = board(2, "s1/2", { isDead: true });
  const world = createWorld({ rack: ownRack(1, 2), boards: [hanging, dead] });
  world.learning().start({ rack: "r" }, "ada");
  await world.untilEnded();
  t.deepEqual(slots(world), [macOf(1), "flagged"]);
  t.deepEqual(flags(world), [
    ["dead", "s1/2", undefined],
    ["late", "s1/1", macOf(1)],
  ]);
  t.is(world.powerUpsOf(dead), 4, "three on-times, and the power it had before");
});

test("whoever speaks while everything is off is not placed, then or later", async (t) => {
  const stranger = board(66, undefined, { delay: 1000, period: 9000, attempts: 10_000 });
  const world = createWorld({ rack: ownRack(1, 1), boards: [stranger] });
  world.learning().start({ rack: "r" }, "ada");
  await world.untilEnded();
  t.deepEqual(flags(world), [
    ["dead", "s1/1", undefined],
    ["foreign", undefined, macOf(66)],
  ]);
  t.is(world.store.reservations.byMac(macOf(66)), undefined);
});

test("one that passes by in the on-time of a dead board is not taken for it", async (t) => {
  const passing = board(66, undefined, { delay: 60_000, attempts: 2 });
  const world = createWorld({ rack: ownRack(1, 1), boards: [passing] });
  world.learning().start({ rack: "r" }, "ada");
  await world.untilEnded();
  t.deepEqual(slots(world), ["flagged"]);
  t.is(world.store.reservations.byMac(macOf(66)), undefined);
});

test("a running system that asks for an address is no board", async (t) => {
  const world = createWorld({ rack: ownRack(1, 1) });
  world.learning().start({ rack: "r" }, "ada");
  await world.clock.advance(40_000);
  const running = { mac: macOf(1), ipxe: false, architectures: [] };
  t.is(world.learning().heard(running, subnet), undefined);
  t.deepEqual(slots(world), ["listening"]);
});

test("five boards behind an outlet of four are flagged, and none is placed", async (t) => {
  const boards = [1, 2, 3, 4, 5].map((number) => board(number, "s1", { delay: 6000 + number }));
  const world = createWorld({ rack: sharedRack(1, 4), boards });
  world.learning().start({ rack: "r" }, "ada");
  await world.untilEnded();
  t.deepEqual(flags(world), [["too-many", "s1", undefined]]);
  t.deepEqual(world.store.reservations.list(), []);
});

test("an outlet that only a person can switch flags its slot and costs no other", async (t) => {
  const world = createWorld({
    rack: ownRack(1, 2),
    boards: [board(1, "s1/1"), board(2, "s1/2")],
    faults: { "s1/1": "by-hand" },
  });
  world.learning().start({ rack: "r" }, "ada");
  await world.untilEnded();
  t.deepEqual(slots(world), ["flagged", macOf(2)]);
  t.regex(world.learning().status().flagged[0]?.text ?? "", /please switch s1\/1 off/);
});

test("a second run keeps every address, and the slot that was empty gets the one kept free for it", async (t) => {
  const second = board(2, "s1/2", { isDead: true });
  const world = createWorld({
    rack: ownRack(1, 3),
    boards: [board(1, "s1/1"), second, board(3, "s1/3")],
  });
  world.learning().start({ rack: "r" }, "ada");
  await world.untilEnded();
  const before = world.store.reservations.list();
  world.boards[1] = board(2, "s1/2");
  world.learning().start({ rack: "r" }, "ada");
  await world.untilEnded();
  t.deepEqual(slots(world), strings([1, 2, 3].map(macOf)));
  t.deepEqual(
    world.store.reservations.list().filter(({ mac }) => mac !== macOf(2)),
    before,
  );
  t.is(String(world.store.reservations.byMac(macOf(2))?.address), "10.77.0.11");
});

test("an address named in the rack file is kept for its slot", async (t) => {
  const rack = ownRack(1, 2, (_, slot) => (slot === 2 ? ", address: 10.77.0.10" : ""));
  const world = createWorld({ rack, boards: [board(1, "s1/1"), board(2, "s1/2")] });
  world.learning().start({ rack: "r" }, "ada");
  await world.untilEnded();
  t.is(String(world.store.reservations.byMac(macOf(1))?.address), "10.77.0.11");
  t.is(String(world.store.reservations.byMac(macOf(2))?.address), "10.77.0.10");
});

test("cancelled: what was on before is on again, and what is left is said", async (t) => {
  const world = createWorld({
    rack: ownRack(1, 3),
    canQuery: true,
    boards: [board(1, "s1/1"), board(2, "s1/2"), board(3, "s1/3")],
  });
  for (const name of ["s1/1", "s1/3"]) world.relayOf(name).ordered = "on";
  world.follow();
  world.learning().start({ rack: "r" }, "ada");
  await world.clock.advance(40_000);
  t.deepEqual(world.lit(), ["s1/2"]);
  await world.learning().cancel();
  t.deepEqual(world.lit(), ["s1/1", "s1/3"]);
  t.is(world.learning().status().state, "cancelled");
  t.deepEqual(flags(world)[0], ["cancelled", undefined, undefined]);
  t.is(
    world.learning().status().reason,
    "cancelled; switched on again: s1/1 s1/3; off as before: s1/2",
  );
});

test("cancelled while its boards wake up: who was placed stays on", async (t) => {
  const world = createWorld({
    rack: ownRack(1, 2),
    canQuery: true,
    boards: [board(1, "s1/1"), board(2, "s1/2", { delay: 20_000 })],
  });
  world.learning().start({ rack: "r" }, "ada");
  while (world.store.reservations.list().length === 0) await world.clock.advance(1000);
  await world.learning().cancel();
  t.deepEqual(slots(world), [macOf(1), "seen"]);
  t.deepEqual(world.lit(), ["s1/1"]);
});

test("closed: nothing is switched, and the next process goes on", async (t) => {
  const world = createWorld({
    rack: ownRack(1, 2),
    boards: [board(1, "s1/1"), board(2, "s1/2")],
  });
  world.learning().start({ rack: "r" }, "ada");
  await world.clock.advance(40_000);
  const lit = world.lit();
  await world.learning().close();
  t.deepEqual(world.lit(), lit);
  t.is(world.store.learnings.newest()?.state, "running");
  await world.restart();
  await world.untilEnded();
  t.deepEqual(slots(world), strings([macOf(1), macOf(2)]));
});

test("a rack that was changed while the server was down is not gone on with", async (t) => {
  const world = createWorld({ rack: ownRack(1, 2) });
  world.learning().start({ rack: "r" }, "ada");
  await world.clock.advance(40_000);
  await world.learning().close();
  world.store.racks.put(parseRackFile(ownRack(1, 3), "rack.yaml"));
  await world.restart();
  t.like(world.learning().status(), {
    state: "failed",
    reason: "rack r was changed while the server was down: learn it again",
  });
});

test("a rack that is changed in the middle is not gone on with, and gets its power back", async (t) => {
  const world = createWorld({
    rack: ownRack(1, 2),
    canQuery: true,
    boards: [board(1, "s1/1"), board(2, "s1/2")],
  });
  world.relayOf("s1/1").ordered = "on";
  world.learning().start({ rack: "r" }, "ada");
  await world.clock.advance(40_000);
  world.store.racks.put(parseRackFile(ownRack(1, 3), "rack.yaml"));
  await world.untilEnded();
  t.like(world.learning().status(), {
    state: "failed",
    reason: "rack r was changed meanwhile: learn it again",
  });
  t.deepEqual(world.store.reservations.list(), []);
  t.deepEqual(world.lit(), ["s1/1"]);
});

test("a board whose name belongs to another node is flagged with that, and costs no other", async (t) => {
  const world = createWorld({
    rack: ownRack(1, 2),
    boards: [board(1, "s1/1"), board(2, "s1/2")],
  });
  const client = {
    mac: macOf(99),
    firmware: "raspberry-pi-3",
    ipxe: false,
    architectures: [0],
  } as const;
  const other = world.server().nodes.heard(client);
  world.server().nodes.update(other.id, { name: "r-s1-1" });
  world.learning().start({ rack: "r" }, "ada");
  await world.untilEnded();
  t.deepEqual(slots(world), ["flagged", macOf(2)]);
  t.deepEqual(flags(world), [["conflict", "s1/1", macOf(1)]]);
  t.regex(world.learning().status().flagged[0]?.text ?? "", /the name r-s1-1 belongs to .*:63/);
});

test("a stack whose node is at work keeps its power, though a board of it is missing", async (t) => {
  const world = createWorld({
    rack: sharedRack(1, 2),
    boards: [board(1, "s1"), board(2, "s1", { hangsAt: [2] })],
  });
  world.learning().start({ rack: "r" }, "ada");
  const placed = () => world.store.nodes.byMac(macOf(1));
  while (!placed()?.slot) await world.clock.advance(1000);
  world.store.jobs.put(exampleJob("job_1"));
  world.store.tasks.put(exampleTask("task_1", "running", placed()?.id));
  const [first] = world.boards;
  if (!first) return t.fail("no board");
  const powerUps = world.powerUpsOf(first);
  await world.untilEnded();
  t.deepEqual(slots(world), [macOf(1), "flagged"]);
  t.is(world.powerUpsOf(first), powerUps, "its power was not cut again");
  t.deepEqual(world.lit(), ["s1"]);
});

/** One late, one dead, one foreign board, and a relay that stays on. */
function faultyWorld(journal: string): World {
  return createWorld({
    rack: ownRack(2, 3),
    canQuery: true,
    journal,
    boards: [
      board(1, "s1/1"),
      board(2, "s1/2", { delay: 150_000 }),
      board(3, "s1/3", { isDead: true }),
      board(4, "s2/1"),
      board(5, "s2/2", { period: 8000, attempts: 10_000 }),
      board(6, "s2/3", { delay: 3000 }),
      board(66, undefined, { delay: 2000, period: 7000, attempts: 10_000 }),
    ],
    faults: { "s2/2": "stuck-on" },
  });
}

test.serial(
  "killed at every step: the journal opened again ends with the same result",
  async (t) => {
    const directory = temporaryDirectory(t);
    const outcome = (world: World) => ({
      slots: slots(world),
      addresses: world.store.reservations
        .list()
        .map(({ mac, address }) => `${mac} ${address}`)
        .sort(),
      flags: flags(world).map(String).sort(),
      lit: world.lit(),
    });
    const first = faultyWorld(join(directory, "0.db"));
    first.learning().start({ rack: "r" }, "ada");
    await first.untilEnded();
    const expected = outcome(first);
    t.deepEqual(expected.slots, [macOf(1), macOf(2), "flagged", macOf(4), "flagged", macOf(6)]);
    const writes = first.server().writes();
    const switches = first.server().switches();
    t.true(writes > 20 && switches > 20, `${writes} writes, ${switches} switches`);
    const numbered = (count: number, at: Death["at"]): readonly Death[] =>
      Array.from({ length: count }, (_, index) => ({ at, number: index + 1 }));
    const deaths = [
      ...numbered(writes, "before write").slice(1), // before the first there is no run
      ...numbered(writes, "after write"),
      ...numbered(switches, "after switch"),
    ];
    for (const [index, death] of deaths.entries()) {
      const world = faultyWorld(join(directory, `${index + 1}.db`));
      world.server().killAt(death);
      world.learning().start({ rack: "r" }, "ada");
      await world.untilEnded();
      t.deepEqual(outcome(world), expected, `killed ${death.at} ${death.number}`);
      world.store.close();
    }
  },
);
