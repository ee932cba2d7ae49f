import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { type Instant, type MacAddress, parseMacAddress } from "#protocol/brand.ts";
import { type Clock, systemClock } from "../../server/clock.ts";
import { ConflictError, PoolExhaustedError } from "../../server/errors.ts";
import { openLeaseFile } from "../../server/lease/lease-file.ts";
import { decodeLeaseFile } from "../../server/lease/lease-format.ts";
import { createLeases } from "../../server/lease/leases.ts";
import { silentLog } from "../../server/log.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { ip, network, subnet, withoutPool } from "../support/network.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { until } from "../support/until.ts";

const a = parseMacAddress("52:54:00:00:00:0a");
const b = parseMacAddress("52:54:00:00:00:0b");
const c = parseMacAddress("52:54:00:00:00:0c");
const d = parseMacAddress("52:54:00:00:00:0d");
const fixed = withoutPool(subnet);

test("reservations take the next free address of the reserved range, once per hardware address", (t) => {
  const { leases } = network();
  const given = [a, b, a, c].map((mac) => String(leases.reserve({ mac, subnet }).address));
  t.deepEqual(given, ["10.77.0.10", "10.77.0.11", "10.77.0.10", "10.77.0.12"]);
  t.is(leases.reservations().length, 3);
});

test("a full reserved range is told, and the pool is not touched", (t) => {
  const { leases } = network();
  for (const mac of [a, b, c]) leases.reserve({ mac, subnet });
  t.throws(() => leases.reserve({ mac: d, subnet }), { instanceOf: PoolExhaustedError });
});

test("an address named in the rack file is given, and refused to a second", (t) => {
  const { leases } = network();
  t.is(String(leases.reserve({ mac: a, subnet, address: ip("10.77.0.50") }).address), "10.77.0.50");
  t.throws(() => leases.reserve({ mac: b, subnet, address: ip("10.77.0.50") }), {
    instanceOf: ConflictError,
  });
});

test("an address outside the subnet, or the router's, is refused", (t) => {
  const { leases } = network();
  for (const text of ["10.78.0.1", "10.77.0.255", "10.77.0.254"]) {
    t.throws(() => leases.reserve({ mac: a, subnet, address: ip(text) }), {
      instanceOf: ConflictError,
    });
  }
});

test("an excluded address is never chosen", (t) => {
  const { store, clock, events } = network();
  const leases = createLeases({ store, clock, events, excluded: [ip("10.77.0.10")] });
  t.is(String(leases.reserve({ mac: a, subnet }).address), "10.77.0.11");
});

test("reserving again fills in host name and slot, and keeps the rest", (t) => {
  const { leases, clock } = network();
  const slot = { rack: "r", stack: "s", slot: "1" };
  const first = leases.reserve({ mac: a, subnet, slot });
  clock.advance(1000);
  t.deepEqual(leases.reserve({ mac: a, subnet, hostname: "node-1" }), {
    ...first,
    hostname: "node-1",
  });
});

test("a named address moves a reservation, and the former address is free again", (t) => {
  const { leases } = network();
  leases.reserve({ mac: a, subnet });
  leases.reserve({ mac: a, subnet, address: ip("10.77.0.60") });
  t.is(String(leases.addressOf(a)), "10.77.0.60");
  t.is(leases.macOf(ip("10.77.0.10")), undefined);
});

test("a client with a reservation is offered it and nothing else", (t) => {
  const { leases } = network();
  leases.reserve({ mac: a, subnet });
  t.is(String(leases.offer(a, subnet, ip("10.77.0.100"))?.address), "10.77.0.10");
  t.is(leases.bind(a, subnet, ip("10.77.0.100")), undefined);
  t.is(leases.bind(a, subnet, ip("10.77.0.10"))?.state, "bound");
});

test("an unknown client gets nothing without a pool", (t) => {
  t.is(network().leases.offer(a, fixed), undefined);
});

test("a reservation of another subnet is not offered here", (t) => {
  const { leases } = network();
  leases.reserve({ mac: a, subnet });
  const other = { ...subnet, network: ip("10.78.0.0"), broadcast: ip("10.78.0.255") };
  t.is(leases.offer(a, other), undefined);
});

test("the pool gives each client one address, keeps it, and runs out", (t) => {
  const { leases } = network();
  const offers = [a, b, a].map((mac) => String(leases.offer(mac, subnet)?.address));
  t.deepEqual(offers, ["10.77.0.100", "10.77.0.101", "10.77.0.100"]);
  t.throws(() => leases.offer(c, subnet), { instanceOf: PoolExhaustedError });
});

test("a wish is granted when the address is free in the pool", (t) => {
  const { leases } = network();
  t.is(String(leases.offer(a, subnet, ip("10.77.0.101"))?.address), "10.77.0.101");
  t.is(String(leases.offer(b, subnet, ip("10.77.0.101"))?.address), "10.77.0.100");
});

test("the pool skips an address that is reserved by name", (t) => {
  const { leases } = network();
  leases.reserve({ mac: a, subnet, address: ip("10.77.0.100") });
  t.is(String(leases.offer(b, subnet)?.address), "10.77.0.101");
});

test("an address a client holds from the pool cannot be reserved for another", (t) => {
  const { leases } = network();
  leases.offer(a, subnet);
  t.throws(() => leases.reserve({ mac: b, subnet, address: ip("10.77.0.100") }), {
    instanceOf: ConflictError,
  });
});

test("a client that becomes reserved gives its pool address back", (t) => {
  const { leases } = network();
  leases.offer(a, subnet);
  leases.bind(a, subnet, ip("10.77.0.100"));
  leases.reserve({ mac: a, subnet });
  t.is(String(leases.addressOf(a)), "10.77.0.10");
  t.is(leases.macOf(ip("10.77.0.100")), undefined);
});

test("an offer nobody takes is free after a minute", (t) => {
  const { leases, clock } = network();
  leases.offer(a, subnet);
  clock.advance(59_000);
  t.is(leases.macOf(ip("10.77.0.100")), a);
  clock.advance(1_000);
  t.is(leases.macOf(ip("10.77.0.100")), undefined);
  t.is(leases.bind(a, subnet, ip("10.77.0.100")), undefined);
});

test("a bound lease ends on time, is published and its row removed", (t) => {
  const { leases, clock, published } = network();
  leases.offer(a, subnet);
  leases.bind(a, subnet, ip("10.77.0.100"));
  clock.advance(3_599_999);
  leases.expire();
  t.is(leases.list().length, 1);
  clock.advance(1);
  leases.expire();
  t.is(leases.list().length, 0);
  const states = published.map((event) => event.topic === "lease" && event.state);
  t.deepEqual(states, ["offered", "bound", "expired"]);
});

test("a renewal moves the end", (t) => {
  const { leases, clock } = network();
  leases.offer(a, subnet);
  const first = leases.bind(a, subnet, ip("10.77.0.100"));
  clock.advance(1_800_000);
  const second = leases.bind(a, subnet, ip("10.77.0.100"));
  t.is(Number(second?.until) - Number(first?.until), 1_800_000);
});

test("only the holder can release or decline", (t) => {
  const { leases } = network();
  leases.offer(a, subnet);
  leases.bind(a, subnet, ip("10.77.0.100"));
  t.false(leases.release(b, ip("10.77.0.100")));
  t.false(leases.decline(b, ip("10.77.0.100")));
  t.true(leases.release(a, ip("10.77.0.100")));
  t.is(leases.addressOf(a), undefined);
});

test("a declined pool address is left alone for ten minutes", (t) => {
  const { leases, clock } = network();
  leases.offer(a, subnet);
  t.true(leases.decline(a, ip("10.77.0.100")));
  t.is(String(leases.offer(a, subnet)?.address), "10.77.0.101");
  clock.advance(600_000);
  t.is(String(leases.offer(b, subnet)?.address), "10.77.0.100");
});

test("a declined reservation stays the node's", (t) => {
  const { leases } = network();
  leases.reserve({ mac: a, subnet });
  leases.offer(a, subnet);
  t.true(leases.decline(a, ip("10.77.0.10")));
  t.is(String(leases.offer(a, subnet)?.address), "10.77.0.10");
});

test("a withdrawn offer is free, a bound lease is not withdrawn", (t) => {
  const { leases } = network();
  leases.offer(a, subnet);
  leases.withdraw(a);
  t.is(leases.addressOf(a), undefined);
  leases.offer(a, subnet);
  leases.bind(a, subnet, ip("10.77.0.100"));
  leases.withdraw(a);
  t.is(String(leases.addressOf(a)), "10.77.0.100");
});

test("what was promised is there after a restart", async (t) => {
  const { store, clock, events } = network();
  const path = join(temporaryDirectory(t), "leases");
  const file = await openLeaseFile(path, { clock: systemClock, log: silentLog });
  const leases = createLeases({ store, file, clock, events });
  leases.reserve({ mac: a, subnet });
  leases.offer(b, subnet);
  await leases.committed(b);
  await file.close();
  const next = await openLeaseFile(path, { clock: systemClock, log: silentLog });
  const again = createLeases({ store, file: next, clock, events });
  t.is(String(again.addressOf(a)), "10.77.0.10");
  t.is(String(again.bind(b, subnet, ip("10.77.0.100"))?.state), "bound");
  await next.close();
});

for (const how of ["removed", "replaced"] as const) {
  test(`D47: a lease file that is ${how} under the running server is written again, with all it held`, async (t) => {
    const { store, clock, events } = network();
    const path = join(temporaryDirectory(t), "leases");
    const context = { clock: systemClock, log: silentLog };
    const file = await openLeaseFile(path, context);
    const leases = createLeases({ store, file, clock, events });
    const take = async (mac: MacAddress) => {
      leases.offer(mac, subnet);
      await leases.committed(mac);
    };
    await take(a);
    rmSync(path);
    if (how === "replaced") writeFileSync(path, "mine");
    leases.expire();
    await take(b);
    await file.close();
    const again = await openLeaseFile(path, context);
    t.deepEqual(
      again.found.map((record) => record.state !== "free" && record.mac),
      [a, b],
    );
    await again.close();
  });
}

test("D47: a lease file that was removed is written again although nobody asks for an address", async (t) => {
  const { store, clock, events } = network();
  const path = join(temporaryDirectory(t), "leases");
  const file = await openLeaseFile(path, { clock: systemClock, log: silentLog });
  const leases = createLeases({ store, file, clock, events });
  leases.offer(a, subnet);
  await leases.committed(a);
  rmSync(path);
  leases.expire();
  await until(() => existsSync(path));
  await file.close();
  t.is(decodeLeaseFile(readFileSync(path), path).records.length, 1);
});

test("a server without RTC that is started again after its clock was set gives nobody's address away", async (t) => {
  const { store, events } = network();
  const path = join(temporaryDirectory(t), "leases");
  const open = async (clock: Clock) => {
    const boot = { id: "this", began: (clock.now() - 60_000) as Instant };
    const file = await openLeaseFile(path, { clock: systemClock, log: silentLog, boot });
    return { file, leases: createLeases({ store, file, clock, events }) };
  };
  const first = await open(createFakeClock(60_000)); // a minute after 1970
  first.leases.offer(b, subnet);
  first.leases.bind(b, subnet, ip("10.77.0.100"));
  await first.leases.committed(b);
  await first.file.close();
  const second = await open(createFakeClock(1_800_000_000_000));
  t.is(String(second.leases.macOf(ip("10.77.0.100"))), b);
  t.is(String(second.leases.offer(c, subnet)?.address), "10.77.0.101");
  await second.file.close();
});

test("a forgotten node's address is free", (t) => {
  const { leases } = network();
  leases.reserve({ mac: a, subnet });
  leases.offer(a, subnet);
  leases.forget(a);
  t.is(leases.macOf(ip("10.77.0.10")), undefined);
});

test("the address that has been free longest is offered first, a client's former one to itself", (t) => {
  const { leases } = network();
  for (const mac of [a, b]) {
    const row = leases.offer(mac, subnet);
    leases.bind(mac, subnet, row?.address ?? ip("0.0.0.0"));
  }
  leases.release(b, ip("10.77.0.101"));
  leases.release(a, ip("10.77.0.100"));
  t.is(String(leases.offer(a, subnet)?.address), "10.77.0.100");
  leases.withdraw(a);
  t.is(String(leases.offer(c, subnet)?.address), "10.77.0.101");
});

test("an empty pool looks for what has run out", (t) => {
  const { leases, clock } = network();
  leases.offer(a, subnet);
  leases.offer(b, subnet);
  t.throws(() => leases.offer(c, subnet), { instanceOf: PoolExhaustedError });
  clock.advance(60_000);
  t.is(String(leases.offer(c, subnet)?.address), "10.77.0.100");
});

test("what would be offered next is known before", (t) => {
  const { leases } = network();
  t.deepEqual(leases.spare(subnet, 9).map(String), ["10.77.0.100", "10.77.0.101"]);
  leases.offer(a, subnet);
  t.deepEqual(leases.spare(subnet, 9).map(String), ["10.77.0.101"]);
  t.deepEqual(leases.spare(fixed, 9), []);
});

test("an address that somebody uses is left alone for ten minutes, and its client gets another", (t) => {
  const { leases, clock } = network();
  leases.offer(a, subnet);
  leases.conflict(ip("10.77.0.100"), c);
  t.is(leases.addressOf(a), undefined);
  t.is(String(leases.offer(a, subnet)?.address), "10.77.0.101");
  t.throws(() => leases.offer(b, subnet), { instanceOf: PoolExhaustedError });
  clock.advance(600_000);
  t.is(String(leases.offer(b, subnet)?.address), "10.77.0.100");
});

test("who uses an address already gets it when it asks for it", (t) => {
  const { leases } = network();
  leases.conflict(ip("10.77.0.101"), a);
  t.is(String(leases.offer(b, subnet, ip("10.77.0.101"))?.address), "10.77.0.100");
  t.is(String(leases.offer(a, subnet, ip("10.77.0.101"))?.address), "10.77.0.101");
});

test("the holder's own answer and a reserved address are no conflict", (t) => {
  const { leases } = network();
  leases.offer(a, subnet);
  leases.conflict(ip("10.77.0.100"), a);
  t.is(String(leases.addressOf(a)), "10.77.0.100");
  leases.reserve({ mac: b, subnet });
  leases.conflict(ip("10.77.0.10"), c);
  t.is(String(leases.addressOf(b)), "10.77.0.10");
});

const identity = "ff112233440001";

test("a client keeps its lease by its identifier when its hardware address changes", (t) => {
  const { leases } = network();
  leases.offer(a, subnet, undefined, identity);
  leases.bind(a, subnet, ip("10.77.0.100"));
  t.is(String(leases.offer(b, subnet, undefined, identity)?.address), "10.77.0.100");
  t.is(leases.addressOf(a), undefined);
  t.is(leases.bind(b, subnet, ip("10.77.0.100"))?.mac, b);
});

test("two live clients of one identifier, as cloned disks are, get an address each", (t) => {
  const { leases } = network();
  leases.offer(a, subnet, undefined, identity);
  leases.bind(a, subnet, ip("10.77.0.100"));
  leases.offer(b, subnet, undefined, identity);
  leases.conflict(ip("10.77.0.100"), a); // the probe: the first one is still there
  t.is(String(leases.addressOf(a)), "10.77.0.100");
  t.is(String(leases.offer(b, subnet, undefined, identity)?.address), "10.77.0.101");
  t.is(String(leases.offer(a, subnet, undefined, identity)?.address), "10.77.0.100");
});

test("a reservation wins over an identifier, on both sides", (t) => {
  const { leases } = network();
  leases.offer(a, subnet, undefined, identity);
  leases.bind(a, subnet, ip("10.77.0.100"));
  leases.reserve({ mac: b, subnet });
  t.is(String(leases.offer(b, subnet, undefined, identity)?.address), "10.77.0.10");
  t.is(String(leases.addressOf(a)), "10.77.0.100");
});

const macs: readonly MacAddress[] = [a, b, c, d];
const steps = fc.array(
  fc.record({
    who: fc.constantFrom(...macs),
    what: fc.constantFrom("offer", "bind", "release", "decline", "reserve", "wait", "forget"),
  }),
  { minLength: 1, maxLength: 60 },
);

testProp("whatever clients do, no two hold one address", [steps], (t, script) => {
  const { leases, clock, store } = network();
  const attempt: Readonly<Record<string, (mac: MacAddress) => unknown>> = {
    offer: (mac) => leases.offer(mac, subnet),
    bind: (mac) => leases.bind(mac, subnet, leases.addressOf(mac) ?? ip("10.77.0.100")),
    release: (mac) => leases.release(mac, leases.addressOf(mac) ?? ip("10.77.0.100")),
    decline: (mac) => leases.decline(mac, leases.addressOf(mac) ?? ip("10.77.0.100")),
    reserve: (mac) => leases.reserve({ mac, subnet }),
    wait: () => clock.advance(90_000),
    forget: (mac) => leases.forget(mac),
  };
  for (const { who, what } of script) {
    try {
      attempt[what]?.(who);
    } catch (error) {
      t.true(error instanceof PoolExhaustedError, String(error));
    }
    t.pass();
    const held = macs.map((mac) => leases.addressOf(mac)).filter((one) => one !== undefined);
    t.is(new Set(held).size, held.length);
    for (const mac of macs) {
      const address = leases.addressOf(mac);
      if (address) t.is(leases.macOf(address), mac);
    }
  }
  store.close();
});
