import test from "ava";
import { type Instant, type MacAddress, parseIpv4Address } from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import type { Node } from "#protocol/node.ts";
import { createEventBus } from "../../server/events.ts";
import { createEventBudget } from "../../server/http/event-budget.ts";
import { createEventLog } from "../../server/http/event-log.ts";
import { silentLog } from "../../server/log.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { manualClock } from "../support/manual-clock.ts";

const mac = "dc:a6:32:00:00:01" as MacAddress;
const node = {
  id: "node_1",
  name: "a-1",
  mac,
  state: "ready",
  quarantined: false,
  power: "on",
  connection: "offline",
  createdAt: 1 as Instant,
  updatedAt: 1 as Instant,
} as Node;

function dhcp(from: MacAddress): DomainEvent {
  return { topic: "dhcp", mac: from, message: "discover", outcome: "offer", interface: "eth1" };
}

/** A locally administered address of its own for each number. */
function invented(number: number): MacAddress {
  const octets = [24, 16, 8, 0].map((shift) => ((number >>> shift) & 0xff).toString(16));
  return ["02", "00", ...octets.map((octet) => octet.padStart(2, "0"))].join(":") as MacAddress;
}

test("a flood of invented MAC addresses leaves the journal to the nodes", (t) => {
  const budget = createEventBudget({ known: [node], clock: manualClock() });
  let kept = 0;
  for (let number = 0; number < 100_000; number++) {
    if (budget.allows(dhcp(invented(number)))) kept += 1;
  }
  t.is(kept, 10_000);
  t.true(budget.allows(dhcp(mac)));
});

test("a chatty stranger does not use up what other strangers may", (t) => {
  const budget = createEventBudget({ known: [], clock: manualClock() });
  const kept = Array.from({ length: 10_000 }, () => budget.allows(dhcp(invented(1))));
  t.is(kept.filter(Boolean).length, 300);
  t.true(budget.allows(dhcp(invented(2))));
});

test("a node that gets a slot has the budget of a node from then on", async (t) => {
  const clock = manualClock();
  const budget = createEventBudget({ known: [], clock });
  const discovered = { ...node, state: "discovered" } as Node;
  budget.allows({ topic: "node", node: discovered });
  const allowed = () =>
    Array.from({ length: 1000 }, () => budget.allows(dhcp(mac))).filter(Boolean).length;
  t.is(allowed(), 300);
  const slot = { rack: "r", stack: "a", slot: "1" };
  budget.allows({ topic: "node", node: { ...discovered, slot } });
  t.is(allowed(), 400);
  await clock.advance(60_000);
  t.is(allowed(), 3);
});

test("what people and rooms cause is always kept", (t) => {
  const budget = createEventBudget({ known: [], clock: manualClock() });
  const alarm: DomainEvent = { topic: "alarm", text: "x" };
  t.true(Array.from({ length: 10_000 }, () => budget.allows(alarm)).every(Boolean));
});

test("events of packets are gathered; what a person waits for takes them along", async (t) => {
  const store = openSqliteStore(":memory:");
  const events = createEventBus(silentLog);
  const clock = manualClock();
  const eventLog = createEventLog({ store, events, clock, log: silentLog });
  events.publish(dhcp(mac));
  await clock.advance(200);
  t.is(store.events.lastId(), 0);
  events.publish({ topic: "alarm", text: "x" });
  await clock.advance(100);
  t.deepEqual(
    store.events.since(0, 9).map(({ event }) => event.topic),
    ["dhcp", "alarm"],
  );
  const address = parseIpv4Address("10.77.0.11");
  events.publish({ topic: "lease", mac, address, state: "bound" });
  await clock.advance(250);
  t.is(store.events.lastId(), 3);
  eventLog.close();
  store.close();
});
