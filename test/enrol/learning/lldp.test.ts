import test from "ava";
import type { SwitchPort } from "#protocol/switch-port.ts";
import { portsHeard } from "../../../server/enrol/learning/evidence/lldp.ts";
import { parseRackFile } from "../../../server/rack/rack-file.ts";
import { exampleJob, exampleTask } from "../../store/contract.ts";
import { board, createWorld, macOf, outlet, ownRack, type World } from "./world.ts";

const told = (port: string, more: Partial<SwitchPort> = {}): SwitchPort => ({
  ...{ protocol: "lldp", chassis: "02:00:00:00:00:01", port, system: "sw1" },
  ...more,
});

const rackWith = (port: string) =>
  parseRackFile(
    `name: r\nstacks: [{ name: a, slots: [{ name: 1, port: "${port}" }, { name: 2, port: gi9 }] }]`,
    "rack.yaml",
  );
const other = told("gi5", { chassis: "02:00:00:00:00:02", system: "sw2" });
const hearings: readonly (readonly [
  title: string,
  port: string,
  heard: readonly (readonly SwitchPort[])[],
  found: string | undefined,
])[] = [
  ["by its id", "gi7", [[told("gi7")]], "gi7"],
  ["behind the switch's name", "sw1/gi7", [[told("gi7")]], "sw1/gi7"],
  ["behind the switch's id", "02:00:00:00:00:01/7", [[told("7")]], "02:00:00:00:00:01/7"],
  ["by its description", "Port 7", [[told("7", { description: "Port 7" })]], "Port 7"],
  ["not alone where there are two switches", "gi7", [[told("gi7")], [other]], undefined],
  ["behind its switch where there are two", "sw1/gi7", [[told("gi7")], [other]], "sw1/gi7"],
  [
    "of one switch that speaks both protocols",
    "gi7",
    [[told("gi7"), told("GigabitEthernet7", { protocol: "cdp", chassis: "sw1" })]],
    "gi7",
  ],
  ["not by one that hears of two slots", "sw1/gi7", [[told("gi7"), told("gi9")]], undefined],
  ["not where two boards hear of it", "gi7", [[told("gi7")], [told("gi7")]], undefined],
  ["not where no slot has it", "gi8", [[told("gi7")]], undefined],
];
for (const [title, port, heard, found] of hearings) {
  test(`a board's port is found: ${title}`, (t) => {
    const boards = new Map(heard.map((list, index) => [macOf(index + 1), list]));
    t.is(portsHeard(rackWith(port), boards).get(macOf(1)), found);
  });
}

/** Stacks with one outlet each whose slots have ports: `s1/1` is `sw1/gi1`, `s2/1` is `sw2/gi1`. */
const rackWithPorts = (stacks: number, perStack: number) => {
  const lines = Array.from({ length: stacks }, (_, index) => {
    const name = `s${index + 1}`;
    const slots = Array.from(
      { length: perStack },
      (_, slot) => `{ name: ${slot + 1}, port: sw${index + 1}/gi${slot + 1} }`,
    );
    return `  - { name: ${name}, outlet: ${outlet(name)}, slots: [${slots.join(", ")}] }`;
  });
  return `name: r\nstacks:\n${lines.join("\n")}\n`;
};
/** A board whose agent hears of port `gi<port>` of the switch of its stack. */
const hearing = (number: number, delay: number, port: number | undefined) =>
  board(number, "s1", {
    ...{ delay, bootMs: 20_000 },
    ...(port !== undefined && { hears: [told(`gi${port}`)] }),
  });
const slots = (world: World) =>
  world
    .learning()
    .status()
    .slots.map((slot) => (slot.state === "heard" ? slot.mac.slice(-2) : slot.state));
const addresses = (world: World) =>
  world
    .learning()
    .status()
    .slots.map((slot) => (slot.state === "heard" ? slot.address.split(".")[3] : slot.state));
const flags = (world: World) =>
  world
    .learning()
    .status()
    .flagged.map(({ reason, mac }) => `${reason} ${mac?.slice(-2)}`);

async function learn(world: World): Promise<number> {
  const began = world.clock.monotonic();
  world.learning().start({ rack: "r" }, "ada");
  await world.untilEnded();
  return (world.clock.monotonic() - began) / 1000;
}

test("boards of one outlet get the slots their switch tells, with the slots' addresses", async (t) => {
  const boards = [3, 1, 2].map((port, index) => hearing(port, 5000 + index, port));
  const world = createWorld({ rack: rackWithPorts(1, 3), boards });
  await learn(world);
  t.deepEqual(slots(world), ["01", "02", "03"]);
  t.deepEqual(addresses(world), ["10", "11", "12"]);
  t.deepEqual(flags(world), []);
  t.deepEqual(
    [1, 2, 3].map((number) => world.store.nodes.byMac(macOf(number))?.name),
    ["r-s1-1", "r-s1-2", "r-s1-3"],
  );
  t.deepEqual(boards.map(world.powerUpsOf), [3, 3, 3]); // observed, woken, and once more for another slot
});

test("what rules said of a slot that a board never had counts for nothing", async (t) => {
  const boards = [1, 3, 2].map((port, index) => hearing(port, 5000 + index, port));
  const world = createWorld({ rack: rackWithPorts(1, 3), boards });
  world.learning().start({ rack: "r" }, "ada");
  while (!world.learning().status().doing?.startsWith("waiting for switch ports")) {
    await world.clock.advance(1000);
  }
  const text = "no rule matches: it is left alone";
  for (const { id } of world.store.nodes.list()) {
    world.server().nodes.update(id, { state: "ready", rule: { text, at: world.clock.now() } });
  }
  await world.untilEnded();
  t.deepEqual(slots(world), ["01", "02", "03"]);
  t.deepEqual(
    [1, 2, 3].map((number) => {
      const node = world.store.nodes.byMac(macOf(number));
      return [node?.state, node?.rule?.text];
    }),
    [
      ["ready", text],
      ["enrolled", undefined],
      ["enrolled", undefined],
    ],
  );
});

test("boards whose order was right are not switched off again", async (t) => {
  const boards = [1, 2, 3].map((port, index) => hearing(port, 5000 + index, port));
  const world = createWorld({ rack: rackWithPorts(1, 3), boards });
  await learn(world);
  t.deepEqual(slots(world), ["01", "02", "03"]);
  t.deepEqual(flags(world), []);
  t.deepEqual(boards.map(world.powerUpsOf), [2, 2, 2]);
});

test("the last board of an outlet needs no port of its own", async (t) => {
  const world = createWorld({
    rack: rackWithPorts(1, 3),
    boards: [hearing(3, 5000, 3), hearing(2, 5001, undefined), hearing(1, 5002, 1)],
  });
  await learn(world);
  t.deepEqual(slots(world), ["01", "02", "03"]);
  t.deepEqual(flags(world), []);
});

test("a switch that says nothing is waited for 65 s, and order stays a guess", async (t) => {
  const boards = [1, 2].map((number) => hearing(number, 5000 + number, undefined));
  const world = createWorld({ rack: rackWithPorts(1, 2), boards });
  world.learning().start({ rack: "r" }, "ada");
  const doings = new Set<string | undefined>();
  let waited = 0;
  while (world.learning().status().state === "running") {
    await world.clock.advance(1000);
    const { doing } = world.learning().status();
    doings.add(doing);
    if (doing?.startsWith("waiting for switch ports")) waited += 1;
  }
  t.deepEqual(flags(world), ["unconfirmed 01", "unconfirmed 02"]);
  t.true(doings.has("waiting for switch ports: 0 of 2 boards are through"));
  t.true(waited >= 80 && waited <= 90, `${waited} s: 20 s to boot, and 65 s`);
});

test("boards that never call are not waited for longer than a late one and a switch take", async (t) => {
  const boards = [1, 2].map((number) => board(number, "s1", { delay: 5000 + number }));
  const world = createWorld({ rack: rackWithPorts(1, 2), boards });
  const seconds = await learn(world);
  t.deepEqual(flags(world), ["unconfirmed 01", "unconfirmed 02"]);
  t.true(seconds > 365 && seconds < 500, `${seconds} s`);
});

test("a rack file without ports waits for no switch", async (t) => {
  const rack = `name: r\nstacks: [{ name: s1, slots: 2, outlet: ${outlet("s1")} }]`;
  const world = createWorld({ rack, boards: [hearing(1, 5000, 1), hearing(2, 5001, 2)] });
  const seconds = await learn(world);
  t.deepEqual(flags(world), ["unconfirmed 01", "unconfirmed 02"]);
  t.true(seconds < 120, `${seconds} s`);
});

test("what a board hears but no slot has is told where its slot is a guess", async (t) => {
  const world = createWorld({
    rack: rackWithPorts(1, 2),
    boards: [hearing(1, 5000, 47), hearing(2, 5001, 48)],
  });
  await learn(world);
  t.regex(
    world.learning().status().flagged[0]?.text ?? "",
    /rests on the order heard alone; it hears of gi47 of sw1, by LLDP, which does not tell its slot$/,
  );
});

test("power and switch that say different slots: the board loses the slot, and is flagged", async (t) => {
  const ports = (_: number, slot: number) => `, port: gi${slot}`;
  const world = createWorld({
    rack: ownRack(1, 3, ports),
    boards: [
      board(1, "s1/1", { bootMs: 20_000, hears: [told("gi3")] }),
      board(2, "s1/2", { bootMs: 20_000, hears: [told("gi2")] }),
    ],
  });
  await learn(world);
  t.deepEqual(slots(world), ["seen", "02", "flagged"]);
  t.deepEqual(flags(world).toSorted(), ["cabling 01", "dead undefined"]);
  t.regex(
    world
      .learning()
      .status()
      .flagged.find(({ reason }) => reason === "cabling")?.text ?? "",
    /hangs on port gi3, which is slot r\/s1\/3, but has power from s1\/1$/,
  );
  t.is(world.store.nodes.byMac(macOf(1))?.slot, undefined);
  t.is(world.store.reservations.byMac(macOf(1)), undefined);
});

test("a node at work keeps its slot and its power, and is flagged where its switch says another", async (t) => {
  const boards = [2, 1].map((port, index) => hearing(index + 1, 5000 + index, port));
  const world = createWorld({ rack: rackWithPorts(1, 2), boards });
  world.learning().start({ rack: "r" }, "ada");
  const placed = () => world.store.nodes.byMac(macOf(1));
  while (!placed()?.slot) await world.clock.advance(1000);
  world.store.jobs.put(exampleJob("job_1"));
  world.store.tasks.put(exampleTask("task_1", "running", placed()?.id));
  await world.untilEnded();
  t.deepEqual(slots(world), ["01", "02"]);
  t.deepEqual(boards.map(world.powerUpsOf), [2, 2]);
  t.deepEqual(flags(world).toSorted(), [
    "cabling 01",
    "cabling 02",
    "unconfirmed 01",
    "unconfirmed 02",
  ]);
  t.regex(
    world
      .learning()
      .status()
      .flagged.find(({ reason }) => reason === "cabling")?.text ?? "",
    /hangs on port sw1\/gi2, which is slot r\/s1\/2, and not the one it has: another board has that$/,
  );
});

test("two boards that hear of one port prove nothing", async (t) => {
  const world = createWorld({
    rack: rackWithPorts(1, 2),
    boards: [hearing(1, 5000, 2), hearing(2, 5001, 2)],
  });
  await learn(world);
  t.deepEqual(slots(world), ["01", "02"]);
  t.deepEqual(flags(world), ["unconfirmed 01", "unconfirmed 02"]);
});

test("what a board heard before it lost its power counts for nothing", async (t) => {
  const boards = [hearing(1, 5000, 1), hearing(2, 5001, 2)];
  const world = createWorld({ rack: rackWithPorts(1, 2), boards });
  await learn(world);
  t.deepEqual(flags(world), []);
  // exchanged among the two sockets of the switch, which is dumb now
  boards.splice(0);
  world.boards.splice(0, 2, hearing(1, 5000, undefined), hearing(2, 5001, undefined));
  await learn(world);
  t.deepEqual(slots(world), ["01", "02"]);
  t.deepEqual(flags(world), []); // known from the first run, and nothing says otherwise
});

test("known boards that changed places at the switch are asked about", async (t) => {
  const world = createWorld({
    rack: rackWithPorts(1, 2),
    boards: [hearing(1, 5000, 1), hearing(2, 5001, 2)],
  });
  await learn(world);
  world.boards.splice(0, 2, hearing(1, 5000, 2), hearing(2, 5001, 1));
  await learn(world);
  t.deepEqual(flags(world), ["moved 01", "moved 02"]);
  t.is(world.store.nodes.byMac(macOf(1))?.slot?.slot, "1");
});

test("a guess of an earlier run is confirmed by the switch, and asked about where it was wrong", async (t) => {
  const rack = rackWithPorts(1, 3);
  const dumb = [1, 2, 3].map((number) => hearing(number, 5000 + number, undefined));
  const world = createWorld({ rack, boards: dumb });
  await learn(world);
  t.deepEqual(flags(world), ["unconfirmed 01", "unconfirmed 02", "unconfirmed 03"]);
  const wise = [1, 3, 2].map((port, index) => hearing(index + 1, 5001 + index, port));
  world.boards.splice(0, 3, ...wise);
  await learn(world);
  t.deepEqual(flags(world), ["moved 02", "moved 03"]);
});

test("killed at every step of asking: the same slots", async (t) => {
  for (const at of ["before write", "after write", "after switch"] as const) {
    for (let number = 1; number <= 30; number++) {
      const boards = [3, 1, 2].map((port, index) => hearing(port, 5000 + index, port));
      const world = createWorld({ rack: rackWithPorts(1, 3), boards });
      world.learning().start({ rack: "r" }, "ada");
      world.server().killAt({ at, number });
      await world.untilEnded();
      t.deepEqual(slots(world), ["01", "02", "03"], `${at} ${number}`);
      t.deepEqual(addresses(world), ["10", "11", "12"], `${at} ${number}`);
      t.deepEqual(flags(world), [], `${at} ${number}`);
      world.store.close();
    }
  }
});
