import test from "ava";
import { parseIpv4Address } from "#protocol/brand.ts";
import { ConflictError, InvalidInputError, NotFoundError } from "../../../server/errors.ts";
import { parseRackFile } from "../../../server/rack/rack-file.ts";
import { board, createWorld, macOf, ownRack, subnet } from "./world.ts";

const address = parseIpv4Address;
const withPool = {
  ...subnet,
  pool: { first: address("10.77.0.100"), last: address("10.77.0.199") },
};
const small = {
  ...subnet,
  reserved: { first: address("10.77.0.10"), last: address("10.77.0.11") },
};

test("refused: an unknown rack, one without outlets, a second run beside the first", async (t) => {
  const world = createWorld({ rack: ownRack(1, 2) });
  t.throws(() => world.learning().start({ rack: "x" }, "ada"), { instanceOf: NotFoundError });
  world.store.racks.put(parseRackFile("name: bare\nstacks: [{ name: a, slots: 1 }]", "rack.yaml"));
  t.throws(() => world.learning().start({ rack: "bare" }, "ada"), {
    instanceOf: InvalidInputError,
    message: /slot bare\/a\/1 has no outlet/,
  });
  world.learning().start({ rack: "r" }, "ada");
  t.throws(() => world.learning().start({ rack: "r" }, "ada"), { instanceOf: ConflictError });
  await world.learning().cancel();
});

const refusedAddresses = [
  ["in a pool", "10.77.0.150", /10\.77\.0\.150 of r-s1-2 is inside the pool 10\.77\.0\.100 - /],
  ["in no subnet", "10.99.0.1", /10\.99\.0\.1 of r-s1-2 is in no subnet \(10\.77\.0\.0\/24\)/],
] as const;
for (const [what, text, message] of refusedAddresses) {
  test(`refused before anything is switched: an address ${what}`, (t) => {
    const rack = ownRack(1, 2, (_, slot) => (slot === 2 ? `, address: ${text}` : ""));
    const world = createWorld({ rack, subnets: [withPool] });
    t.throws(() => world.learning().start({ rack: "r" }, "ada"), {
      instanceOf: InvalidInputError,
      message,
    });
    t.is(world.store.learnings.newest(), undefined);
  });
}

test("refused: more slots than addresses; a slot that has its address needs none", async (t) => {
  const world = createWorld({ rack: ownRack(1, 3), subnets: [small] });
  t.throws(() => world.learning().start({ rack: "r" }, "ada"), {
    instanceOf: InvalidInputError,
    message: /rack r needs 3 addresses and 2 are free/,
  });
  const fitting = createWorld({
    rack: ownRack(1, 2),
    subnets: [small],
    boards: [board(1, "s1/1"), board(2, "s1/2")],
  });
  fitting.learning().start({ rack: "r" }, "ada");
  await fitting.untilEnded();
  t.notThrows(() => fitting.learning().preview({ rack: "r" }), "both are taken, by its own");
});

test("refused unless forced: installed nodes that run", async (t) => {
  const world = createWorld({ rack: ownRack(1, 1), boards: [board(1, "s1/1")] });
  world.learning().start({ rack: "r" }, "ada");
  await world.untilEnded();
  const node = world.store.nodes.byMac(macOf(1));
  if (!node) return t.fail("not placed");
  const now = world.clock.now();
  world.store.nodes.put({
    ...node,
    connection: "online",
    agent: {
      ...{ role: "resident", version: "1", bootId: "b", hostname: "r-s1-1" },
      ...{ address: address("10.77.0.10"), since: now, lastSeen: now },
    },
  });
  t.throws(() => world.learning().start({ rack: "r" }, "ada"), {
    instanceOf: ConflictError,
    message: /1 installed nodes of rack r are running .* \(r-s1-1\): shut them down first/,
  });
  t.notThrows(() => world.learning().start({ rack: "r", force: true }, "ada"));
  await world.learning().cancel();
});

test("what a start would do is told without doing it", (t) => {
  const world = createWorld({ rack: ownRack(1, 2) });
  t.deepEqual(world.learning().preview({ rack: "r", slotTimeoutSeconds: 10, quietSeconds: 5 }), {
    outlets: ["s1/1", "s1/2"],
    slots: 2,
    nodes: [],
    secondsAtMost: 2 * (10 + 25 + 10) + 2 * 5,
  });
  t.is(world.store.learnings.newest(), undefined);
});
