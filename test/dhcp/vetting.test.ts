import test from "ava";
import type { Ipv4Address, MacAddress } from "#protocol/brand.ts";
import { createVetting } from "../../server/dhcp/vetting.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { manualClock, settle } from "../support/manual-clock.ts";
import { ip, mac, subnet } from "../support/network.ts";

const client = mac("52:54:00:00:00:0a");
const other = mac("52:54:00:00:00:0b");

/** @param users - who answers ARP for which address */
function vetting(
  users: Readonly<Record<string, MacAddress>> = {},
  spare = ["10.77.0.100"],
  holders: Readonly<Record<string, MacAddress>> = {},
  sighted: Readonly<Record<string, MacAddress>> = {},
) {
  const clock = manualClock();
  const events = createEventBus(silentLog);
  const alarms: string[] = [];
  events.on("alarm", ({ text }) => void alarms.push(text));
  const asked: string[] = [];
  const conflicts: string[] = [];
  const made = createVetting({
    interfaceName: "lan0",
    subnet: () => subnet,
    leases: {
      spare: () => spare.map(ip),
      conflict: (address, seen) => void conflicts.push(`${address} ${seen}`),
      macOf: (address) => holders[address],
    },
    probe: {
      ask: async (address: Ipv4Address) => {
        asked.push(address);
        return users[address];
      },
      close: async () => undefined,
    },
    sightings: { userOf: (address) => sighted[address] },
    events,
    clock,
    log: silentLog,
  });
  return { made, clock, alarms, asked, conflicts };
}

test("what would be offered next is probed ahead, and offered without a wait", async (t) => {
  const { made, asked } = vetting();
  await settle();
  t.deepEqual(asked, ["10.77.0.100"]);
  t.is(made.check(client, ip("10.77.0.100")), undefined);
});

test("an address in use is taken from the pool before anybody asks", async (t) => {
  const { conflicts, alarms } = vetting({ "10.77.0.100": other });
  await settle();
  t.deepEqual(conflicts, [`10.77.0.100 ${other}`]);
  t.deepEqual(alarms, [`10.77.0.100 of the pool is used by ${other}, which has no lease for it`]);
});

test("who is given an address while it is probed ahead, and answers, is no conflict", async (t) => {
  const users = { "10.77.0.100": client };
  const { made, conflicts, alarms } = vetting(users, ["10.77.0.100"], users);
  await settle();
  t.deepEqual([conflicts, alarms], [[], []]);
  t.not(made.check(other, ip("10.77.0.100")), undefined, "asked for again when it is free again");
});

test("who boots with another server's address is not probed, and keeps it", async (t) => {
  const sighted = { "10.77.0.100": other };
  const { asked, conflicts, made } = vetting({}, ["10.77.0.100"], {}, sighted);
  await settle();
  t.deepEqual(asked, [], "a probe removes its neighbour entry, and it may answer no ARP");
  t.deepEqual(conflicts, [`10.77.0.100 ${other}`]);
  t.true(await made.check(other, ip("10.77.0.100")), "from us it may have it");
});

test("an address that was not probed is held until it is", async (t) => {
  const { made, asked } = vetting();
  t.true(await made.check(client, ip("10.77.0.101")));
  t.deepEqual(asked, ["10.77.0.100", "10.77.0.101"]);
});

test("another device's address is not offered; the client's own is", async (t) => {
  const users = { "10.77.0.101": other, "10.77.0.102": client };
  const { made, conflicts } = vetting(users);
  t.false(await made.check(client, ip("10.77.0.101")));
  t.deepEqual(conflicts, [`10.77.0.101 ${other}`]);
  t.true(await made.check(client, ip("10.77.0.102")));
});

test("an address that was offered is probed again before the next client has it", async (t) => {
  const { made } = vetting({}, []);
  t.true(await made.check(client, ip("10.77.0.101")));
  t.is(made.check(client, ip("10.77.0.101")), undefined);
  t.not(made.check(other, ip("10.77.0.101")), undefined);
});

test("a probe counts for five minutes", async (t) => {
  const { clock, asked } = vetting();
  await clock.advance(299_000);
  t.is(asked.length, 1);
  await clock.advance(2_000);
  t.is(asked.length, 2);
});

test("in a flood nobody is held, and no ARP is sent for it", async (t) => {
  const { made, clock, asked } = vetting({}, []);
  const offers = () =>
    Array.from({ length: 10 }, (_, index) => made.check(client, ip(`10.77.0.${200 + index}`)));
  t.is(offers().filter((held) => held !== undefined).length, 4);
  await clock.advance(1000);
  t.is(asked.length, 4);
  await clock.advance(0);
  t.is(offers().filter((held) => held !== undefined).length, 0);
  t.is(asked.length, 4);
  await clock.advance(2000);
  t.not(made.check(client, ip("10.77.0.220")), undefined);
});

test("what is closed probes no more", async (t) => {
  const { made, clock, asked } = vetting();
  made.close();
  await clock.advance(600_000);
  t.is(asked.length, 1);
});
