import test from "ava";
import { portTold } from "../../../server/enrol/learning/evidence/option-82.ts";
import { parseRackFile } from "../../../server/rack/rack-file.ts";
import { type Board, board, createWorld, macOf, outlet, type World } from "./world.ts";

/** Stacks with one outlet each whose slots have ports: `s1/1` is `sw1-1`. */
const rackWithPorts = (stacks: number, perStack: number) => {
  const lines = Array.from({ length: stacks }, (_, index) => {
    const name = `s${index + 1}`;
    const slots = Array.from(
      { length: perStack },
      (_, slot) => `{ name: ${slot + 1}, port: sw${index + 1}-${slot + 1} }`,
    );
    return `  - { name: ${name}, outlet: ${outlet(name)}, slots: [${slots.join(", ")}] }`;
  });
  return `name: r\nstacks:\n${lines.join("\n")}\n`;
};
const circuit = (port: string): NonNullable<Board["circuit"]> => ({
  id: Buffer.from(port).toString("hex"),
});
const slots = (world: World) =>
  world
    .learning()
    .status()
    .slots.map((slot) => (slot.state === "heard" ? slot.mac.slice(-2) : slot.state));
const reasons = (world: World) =>
  world
    .learning()
    .status()
    .flagged.map(({ reason }) => reason);

async function learn(world: World): Promise<void> {
  world.learning().start({ rack: "r" }, "ada");
  await world.untilEnded();
}

const written: readonly (readonly [title: string, port: string, told: Board["circuit"]])[] = [
  ["as text", "gi1/0/7", circuit("gi1/0/7")],
  ["as octets", "0x00040007", { id: "00040007" }],
  ["behind its switch", "sw1/gi7", { id: "676937", remote: "737731" }],
  [
    "as octets behind its switch",
    "0x0006dca632010203/0x0007",
    { id: "0007", remote: "0006dca632010203" },
  ],
];
for (const [title, port, told] of written) {
  test(`a port is written ${title}`, (t) => {
    const text = `name: r\nstacks: [{ name: a, slots: [{ name: 1, port: "${port}" }] }]`;
    const rack = parseRackFile(text, "rack.yaml");
    t.is(portTold(rack, told ? { circuit: told } : {}), port);
    t.is(portTold(rack, { circuit: { id: "ffff" } }), undefined);
    t.is(portTold(rack, {}), undefined);
  });
}

test("ports tell the slots of one outlet apart, whatever the order heard", async (t) => {
  const world = createWorld({
    rack: rackWithPorts(1, 3),
    boards: [3, 1, 2].map((slot, index) =>
      board(slot, "s1", { delay: 5000 + index, circuit: circuit(`sw1-${slot}`) }),
    ),
  });
  await learn(world);
  t.deepEqual(slots(world), ["01", "02", "03"]);
  t.deepEqual(reasons(world), []);
});

test("boards behind an outlet that stays on are placed by their ports", async (t) => {
  const world = createWorld({
    rack: rackWithPorts(2, 1),
    canQuery: true,
    boards: [
      board(1, "s1"),
      board(2, "s2", { period: 9000, attempts: 10_000, circuit: circuit("sw2-1") }),
      board(66, undefined, { delay: 1000, period: 9000, attempts: 10_000 }),
    ],
    faults: { s2: "stuck-on" },
  });
  await learn(world);
  t.deepEqual(slots(world), ["01", "02"]);
  t.deepEqual(reasons(world), ["stuck-on", "foreign"]);
});

test("power and port that say different slots are flagged, and the board is not placed", async (t) => {
  const world = createWorld({
    rack: rackWithPorts(2, 1),
    boards: [board(1, "s1", { circuit: circuit("sw2-1") }), board(2, "s2")],
  });
  await learn(world);
  t.deepEqual(reasons(world), ["cabling"]);
  t.is(world.store.nodes.byMac(macOf(1))?.slot, undefined);
  t.regex(
    world.learning().status().flagged[0]?.text ?? "",
    /hangs on port sw2-1, which is slot r\/s2\/1, but has power from s1/,
  );
});

test("what knows the ports is asked while the board has power", async (t) => {
  const asked: string[] = [];
  const world: World = createWorld({
    rack: rackWithPorts(1, 2),
    boards: [board(1, "s1", { delay: 9000 }), board(2, "s1")],
    locate: async (_rack, macs) => {
      asked.push(`${world.lit()}: ${macs.map((mac) => mac.slice(-2)).join(" ")}`);
      return new Map(macs.map((mac) => [mac, `sw1-${Number(mac.slice(-2))}`]));
    },
  });
  await learn(world);
  t.deepEqual(asked, ["s1: 02 01"]);
  t.deepEqual(slots(world), ["01", "02"]);
  t.deepEqual(reasons(world), []);
});
