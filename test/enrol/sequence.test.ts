import test from "ava";
import { type MacAddress, parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import type { SlotRef } from "#protocol/node.ts";
import type { BootClient } from "../../server/boot/client.ts";
import type { Subnet } from "../../server/config.ts";
import { createLearning } from "../../server/enrol/sequence.ts";
import { ConflictError, InvalidInputError, NotFoundError } from "../../server/errors.ts";
import { createEventBus } from "../../server/events.ts";
import { createLeases } from "../../server/lease/leases.ts";
import { silentLog } from "../../server/log.ts";
import { createNodes } from "../../server/node/nodes.ts";
import type { Power } from "../../server/power/power.ts";
import { parseRackFile } from "../../server/rack/rack-file.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { manualClock, settle } from "../support/manual-clock.ts";

const address = parseIpv4Address;
const subnet: Subnet = {
  cidr: "10.77.0.0/24",
  network: address("10.77.0.0"),
  netmask: address("255.255.255.0"),
  broadcast: address("10.77.0.255"),
  interface: "eth0",
  reserved: { first: address("10.77.0.10"), last: address("10.77.0.99") },
  dns: [],
  mode: "reservation",
  relays: [],
  domainSearch: [],
  ntp: [],
  routes: [],
  classes: [],
  secureBoot: "auto",
  leaseSeconds: 3600,
};
const mac = (last: number) =>
  parseMacAddress(`b8:27:eb:00:00:${last.toString(16).padStart(2, "0")}`);
const clientOf = (one: MacAddress): BootClient => ({
  mac: one,
  firmware: "raspberry-pi-3",
  ipxe: false,
  architectures: [0],
});
const outlet = (name: string) =>
  `{ driver: qemu, settings: { socket: /run/rack.sock, outlet: ${name} } }`;
const ownOutlets = `name: r
stacks:
  - name: a
    slots:
      - { name: 1, outlet: ${outlet("a1")} }
      - { name: 2, outlet: ${outlet("a2")} }
  - name: b
    slots:
      - { name: 1, outlet: ${outlet("b1")} }
`;
const sharedOutlets = `name: r
stacks:
  - { name: a, slots: 2, outlet: ${outlet("a")} }
  - { name: b, slots: 1, outlet: ${outlet("b")} }
`;

/** The server's rooms round a rack whose power only exists on paper. */
function bench(rackText: string) {
  const store = openSqliteStore(":memory:");
  store.racks.put(parseRackFile(rackText, "rack.yaml"));
  const clock = manualClock();
  const events = createEventBus(silentLog);
  const published: DomainEvent[] = [];
  events.subscribe((event) => published.push(event));
  const nodes = createNodes({ store, events, clock, log: silentLog });
  const leases = createLeases({ store, clock, events });
  const on = new Set<string>();
  const broken = new Set<string>();
  const byHand = new Set<string>();
  const switchTo = (name: string, state: "on" | "off"): Promise<void> => {
    if (byHand.has(name)) return Promise.reject(new Error(`please switch ${name} ${state}`));
    if (broken.has(name) && state === "on") return Promise.reject(new Error("relay board is gone"));
    if (state === "on") on.add(name);
    else on.delete(name);
    return Promise.resolve();
  };
  const power: Pick<Power, "set" | "setStack" | "outletOf"> = {
    set: ({ stack, slot }, state) => switchTo(`${stack}${slot}`, state),
    setStack: ({ stack }, state) => switchTo(stack, state),
    outletOf: ({ rack, stack, slot }: SlotRef) => {
      const found = store.racks.get(rack)?.stacks.find((one) => one.name === stack);
      return found?.slots.find((one) => one.name === slot)?.outlet ?? found?.outlet;
    },
  };
  const opened: MacAddress[] = [];
  const windows = { open: (one: MacAddress) => void opened.push(one) };
  const learning = createLearning({
    ...{ store, nodes, leases, power, windows, events, clock, log: silentLog },
  });
  return {
    ...{ store, clock, events, published, nodes, learning, on, broken, byHand, opened },
    hear: async (one: MacAddress) => {
      const reservation = learning.heard(clientOf(one), subnet);
      await settle();
      return reservation;
    },
    /** What the DHCP room says for a MAC address that has its reservation already. */
    hearKnown: async (one: MacAddress) => {
      events.publish({ topic: "heard", mac: one, firmware: "raspberry-pi-3" });
      await settle();
    },
    slots: () =>
      learning.status().slots.map((slot) => (slot.state === "heard" ? slot.mac : slot.state)),
  };
}

const quiet = 2000;
const timeout = 120_000;

test("each slot gets the MAC address heard while only its outlet was new", async (t) => {
  const rack = bench(ownOutlets);
  rack.learning.start("r", "ada");
  await rack.clock.advance(quiet);
  t.deepEqual([...rack.on], ["a1"]);
  const first = await rack.hear(mac(1));
  t.is(String(first?.address), "10.77.0.10");
  t.deepEqual([...rack.on], ["a1", "a2"], "a node stays on after it was heard");
  await rack.hear(mac(2));
  await rack.hear(mac(3));
  t.is(rack.learning.status().state, "done");
  t.deepEqual(rack.slots(), [mac(1), mac(2), mac(3)]);
  t.like(rack.nodes.byMac(mac(3)), {
    name: "r-b-1",
    slot: { rack: "r", stack: "b", slot: "1" },
    address: address("10.77.0.12"),
  });
  t.deepEqual(rack.opened, [mac(1), mac(2), mac(3)], "each may enrol now");
});

test("a late booter is flagged, switched off, and not taken for the next slot", async (t) => {
  const rack = bench(ownOutlets);
  rack.learning.start("r", "ada");
  await rack.clock.advance(quiet);
  await rack.clock.advance(timeout);
  t.deepEqual([...rack.on], ["a2"], "its outlet is off before the next slot opens");
  await rack.hear(mac(2));
  await rack.hear(mac(3));
  t.deepEqual(rack.slots(), ["flagged", mac(2), mac(3)]);
  t.regex(JSON.stringify(rack.learning.status().slots[0]), /nobody was heard in 120 s/);
});

test("whoever speaks while everything is off is not placed, then or later", async (t) => {
  const rack = bench(ownOutlets);
  rack.learning.start("r", "ada");
  await settle();
  t.is(await rack.hear(mac(66)), undefined);
  await rack.clock.advance(quiet);
  t.is(await rack.hear(mac(66)), undefined);
  t.deepEqual(rack.slots(), ["listening", "waiting", "waiting"]);
  t.like(rack.learning.status().unplaced[0], { mac: mac(66) });
  t.is(rack.store.reservations.byMac(mac(66)), undefined);
});

test("a running system that asks for an address is not a node of the slot", async (t) => {
  const rack = bench(ownOutlets);
  rack.learning.start("r", "ada");
  await rack.clock.advance(quiet);
  const { firmware: _, ...running } = clientOf(mac(1));
  t.is(rack.learning.heard(running, subnet), undefined);
  t.deepEqual(rack.slots(), ["listening", "waiting", "waiting"]);
});

test("an outlet that cannot be switched on flags its slot and learning goes on", async (t) => {
  const rack = bench(ownOutlets);
  rack.broken.add("a1");
  rack.learning.start("r", "ada");
  await rack.clock.advance(quiet);
  await rack.hear(mac(2));
  await rack.hear(mac(3));
  t.deepEqual(rack.slots(), ["flagged", mac(2), mac(3)]);
  t.regex(JSON.stringify(rack.learning.status().slots[0]), /relay board is gone/);
});

test("an outlet that only a person can switch flags its slot and costs no other", async (t) => {
  const rack = bench(ownOutlets);
  rack.byHand.add("a2");
  rack.learning.start("r", "ada");
  await rack.clock.advance(quiet);
  await rack.hear(mac(1));
  await rack.hear(mac(3));
  t.deepEqual(rack.slots(), [mac(1), "flagged", mac(3)]);
  t.is(rack.learning.status().state, "done");
  t.regex(JSON.stringify(rack.learning.status().slots[1]), /please switch a2 off/);
});

test("a second run keeps every address and gives the flagged slot its node", async (t) => {
  const rack = bench(ownOutlets);
  rack.learning.start("r", "ada");
  await rack.clock.advance(quiet);
  await rack.hear(mac(1));
  await rack.clock.advance(timeout);
  await rack.hear(mac(3));
  const before = rack.store.reservations.list();

  rack.learning.start("r", "ada");
  await rack.clock.advance(quiet);
  await rack.hearKnown(mac(1));
  const found = await rack.hear(mac(2));
  await rack.hearKnown(mac(3));
  t.is(rack.learning.status().state, "done");
  t.deepEqual(rack.slots(), [mac(1), mac(2), mac(3)]);
  t.deepEqual(
    rack.store.reservations.list().filter((one) => one.mac !== mac(2)),
    before,
  );
  t.is(String(found?.address), "10.77.0.12");
});

test("another MAC address in a slot that has its node is left out and the slot flagged", async (t) => {
  const rack = bench(ownOutlets);
  rack.learning.start("r", "ada");
  await rack.clock.advance(quiet);
  for (const one of [1, 2, 3]) await rack.hear(mac(one));
  rack.learning.start("r", "ada");
  await rack.clock.advance(quiet);
  t.is(await rack.hear(mac(9)), undefined);
  await rack.clock.advance(timeout);
  t.deepEqual(rack.slots(), ["flagged", "listening", "waiting"]);
  t.regex(
    rack.learning.status().unplaced[0]?.reason ?? "",
    /r\/a\/1, which belongs to b8:27:eb:00:00:01/,
  );
});

test("a stack with one outlet: in the order heard, with a warning", async (t) => {
  const rack = bench(sharedOutlets);
  rack.learning.start("r", "ada");
  await rack.clock.advance(quiet);
  await rack.hear(mac(2));
  await rack.hear(mac(1));
  await rack.hear(mac(3));
  t.deepEqual(rack.slots(), [mac(2), mac(1), mac(3)]);
  const [first, , third] = rack.learning.status().slots;
  t.regex(JSON.stringify(first), /in the order heard/);
  t.false(JSON.stringify(third).includes("warning"), "one slot alone is no guess");
});

test("a stack of which one node is silent goes dark for the rest, and comes back at the end", async (t) => {
  const rack = bench(sharedOutlets);
  rack.learning.start("r", "ada");
  await rack.clock.advance(quiet);
  await rack.hear(mac(1));
  await rack.clock.advance(timeout);
  t.deepEqual([...rack.on], ["b"], "its late booter cannot be taken for stack b's node");
  await rack.hear(mac(3));
  t.deepEqual(rack.slots(), [mac(1), "flagged", mac(3)]);
  t.deepEqual([...rack.on].sort(), ["a", "b"]);
});

test("an address named in the rack file is kept for its slot", async (t) => {
  const rack = bench(`name: r
stacks:
  - name: a
    slots:
      - { name: 1, outlet: ${outlet("a1")} }
      - { name: 2, address: 10.77.0.10, outlet: ${outlet("a2")} }
`);
  rack.learning.start("r", "ada");
  await rack.clock.advance(quiet);
  t.is(String((await rack.hear(mac(1)))?.address), "10.77.0.11");
  t.is(String((await rack.hear(mac(2)))?.address), "10.77.0.10");
});

test("cancelled: the slot at work goes off, what was learned stays", async (t) => {
  const rack = bench(ownOutlets);
  rack.learning.start("r", "ada");
  await rack.clock.advance(quiet);
  await rack.hear(mac(1));
  await rack.learning.cancel();
  t.is(rack.learning.status().state, "cancelled");
  t.deepEqual([...rack.on], ["a1"]);
  t.deepEqual(rack.slots(), [mac(1), "flagged", "waiting"]);
});

test("switching a placed node on, by whoever, opens its enrolment window", async (t) => {
  const rack = bench(ownOutlets);
  rack.learning.start("r", "ada");
  await rack.clock.advance(quiet);
  for (const one of [1, 2, 3]) await rack.hear(mac(one));
  rack.opened.length = 0;
  const slot = { rack: "r", stack: "a", slot: "2" };
  rack.events.publish({ topic: "power", slot, state: "off", ok: true });
  t.is(rack.nodes.byMac(mac(2))?.power, "off");
  rack.events.publish({ topic: "power", slot, state: "on", ok: true });
  t.deepEqual(rack.opened, [mac(2)]);
});

test("refused: an unknown rack, a rack without outlets, a second run beside the first", async (t) => {
  const rack = bench(ownOutlets);
  t.throws(() => rack.learning.start("x", "ada"), { instanceOf: NotFoundError });
  rack.store.racks.put(parseRackFile("name: bare\nstacks: [{ name: a, slots: 1 }]", "rack.yaml"));
  t.throws(() => rack.learning.start("bare", "ada"), {
    instanceOf: InvalidInputError,
    message: /slot bare\/a\/1 has no outlet/,
  });
  rack.learning.start("r", "ada");
  t.throws(() => rack.learning.start("r", "ada"), { instanceOf: ConflictError });
  await rack.learning.cancel();
});
