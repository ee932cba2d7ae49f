/** E52: the server's own link is gone. */

import test from "ava";
import { parseIpv4Address } from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import { silentLog } from "../../server/log.ts";
import { createHearing } from "../../server/net/hearing.ts";
import { manualClock } from "../support/manual-clock.ts";

const segments = [
  { interfaceName: "eth1", address: parseIpv4Address("10.77.0.1") },
  { interfaceName: "eth2", address: parseIpv4Address("10.78.0.1") },
];
const there = { eth1: [{ address: "10.77.0.1" }], eth2: [{ address: "10.78.0.1" }] };

function open() {
  const clock = manualClock();
  const alarms: string[] = [];
  const events = {
    publish: (event: DomainEvent) => void (event.topic === "alarm" && alarms.push(event.text)),
  };
  const machine: { live: Record<string, { address: string }[]> } = { live: there };
  const hearing = createHearing({
    ...{ segments, clock, events, log: silentLog },
    live: () => machine.live,
  });
  const times = () =>
    [hearing.clockOf("eth1"), hearing.clockOf("eth2"), hearing.clock].map((one) =>
      Number(one.monotonic()),
    );
  return { clock, alarms, machine, hearing, times };
}

test("the clock of nodes behind an interface without a link is held, those of others go on", async (t) => {
  const { clock, machine, times, alarms } = open();
  await clock.advance(10_000);
  machine.live = { eth2: there.eth2 };
  await clock.advance(600_000);
  t.deepEqual(times(), [11_000, 610_000, 610_000]);
  machine.live = there;
  await clock.advance(10_000);
  t.deepEqual(times(), [20_000, 620_000, 620_000]);
  t.deepEqual(alarms, [
    "the server's interface eth1 has no link since 2027-01-15T08:00:11Z: no node can be heard there; their jobs wait meanwhile, and none is taken for silent (look at its cable and at the switch)",
    "the server's interface eth1 is back after 600 s: its nodes are given that time",
  ]);
});

test("what is of no one interface is held while none has a link", async (t) => {
  const { clock, machine, times } = open();
  machine.live = { lo: [{ address: "127.0.0.1" }] };
  await clock.advance(600_000);
  t.deepEqual(times(), [1000, 1000, 1000]);
  machine.live = { eth1: there.eth1 };
  await clock.advance(10_000);
  t.deepEqual(times(), [10_000, 1000, 10_000]);
});

test("an interface that has lost its address hears nobody either, and says so", async (t) => {
  const { clock, machine, times, alarms } = open();
  machine.live = { ...there, eth1: [{ address: "169.254.1.1" }] };
  await clock.advance(60_000);
  t.deepEqual(times(), [1000, 60_000, 60_000]);
  t.regex(
    alarms.join(),
    /^the server's interface eth1 has lost its address 10\.77\.0\.1 since 2027-01-15T08:00:/,
  );
});

test("a link that is away for a moment is no alarm", async (t) => {
  const { clock, machine, times, alarms } = open();
  machine.live = { eth2: there.eth2 };
  await clock.advance(4000);
  machine.live = there;
  await clock.advance(6000);
  t.deepEqual(alarms, []);
  t.deepEqual(times(), [6000, 10_000, 10_000]);
});

test("after the end nobody looks any more", async (t) => {
  const { clock, machine, hearing, times } = open();
  hearing.close();
  machine.live = {};
  await clock.advance(60_000);
  t.deepEqual(times(), [60_000, 60_000, 60_000]);
});
