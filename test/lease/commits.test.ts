import test from "ava";
import type { Instant } from "#protocol/brand.ts";
import { UnavailableError } from "../../server/errors.ts";
import type { LeaseFile } from "../../server/lease/lease-file.ts";
import type { LeaseRecord } from "../../server/lease/lease-format.ts";
import { createLeases } from "../../server/lease/leases.ts";
import { ip, mac, network, subnet } from "../support/network.ts";

const a = mac("52:54:00:00:00:0a");
const b = mac("52:54:00:00:00:0b");

/** A file whose writes end when the test says so. */
function slowFile() {
  const writes: { records: readonly LeaseRecord[]; end(error?: Error): void }[] = [];
  const file: LeaseFile = {
    found: [],
    append: (records) =>
      new Promise((resolve, reject) => {
        writes.push({ records, end: (error) => (error ? reject(error) : resolve()) });
      }),
    isLost: () => false,
    close: async () => undefined,
  };
  /** Ends the write that is under way, once whatever leads to it has run. */
  const finish = async (error?: Error) => {
    await turns();
    writes.at(-1)?.end(error);
    await turns();
  };
  return { file, writes, finish, last: () => writes.at(-1) };
}

/** Lets everything that waits for a promise run on. */
async function turns(): Promise<void> {
  for (let count = 0; count < 20; count++) await Promise.resolve();
}

function leasesOn(file: LeaseFile) {
  const { store, clock, events, published } = network();
  return { leases: createLeases({ store, file, clock, events }), clock, published };
}

async function settled(promise: Promise<unknown>): Promise<string> {
  const waits = turns().then(() => "waits");
  return Promise.race([promise.then(() => "done", String), waits]);
}

const addressesOf = (records: readonly LeaseRecord[] | undefined) =>
  records?.map((record) => String(record.address));

test("an offer of the pool is durable when its record is, and told then", async (t) => {
  const { file, finish } = slowFile();
  const { leases, published } = leasesOn(file);
  leases.offer(a, subnet);
  const committed = leases.committed(a);
  t.is(await settled(committed), "waits");
  t.deepEqual(published, []);
  await finish();
  t.is(await settled(committed), "done");
  t.is(published.length, 1);
});

test("everybody of one turn shares a write", async (t) => {
  const { file, writes, finish } = slowFile();
  const { leases } = leasesOn(file);
  leases.offer(a, subnet);
  const first = leases.committed(a);
  leases.offer(b, subnet);
  const second = leases.committed(b);
  await finish();
  t.deepEqual([await settled(first), await settled(second)], ["done", "done"]);
  t.is(writes.length, 1);
});

test("everybody who comes while one write is under way shares the next", async (t) => {
  const { file, writes, last, finish } = slowFile();
  const { leases } = leasesOn(file);
  leases.offer(a, subnet);
  const first = leases.committed(a);
  await turns();
  leases.offer(b, subnet);
  const second = leases.committed(b);
  t.is(await settled(second), "waits");
  t.is(writes.length, 1);
  await finish();
  t.is(await settled(first), "done");
  t.is(await settled(second), "waits");
  t.deepEqual(addressesOf(last()?.records), ["10.77.0.101"]);
  await finish();
  t.is(await settled(second), "done");
});

test("the ACK rests on the offer's record, and so does the offer asked for again", async (t) => {
  const { file, writes, finish } = slowFile();
  const { leases, clock } = leasesOn(file);
  leases.offer(a, subnet);
  void leases.committed(a);
  await finish();
  await settled(leases.committed());
  clock.advance(20_000);
  leases.offer(a, subnet);
  t.is(await settled(leases.committed(a)), "done");
  const bound = leases.bind(a, subnet, ip("10.77.0.100"));
  t.is(await settled(leases.committed(a)), "done");
  t.is(writes.length, 1);
  const [record] = writes[0]?.records ?? [];
  t.true(record?.state === "promised" && record.until >= Number(bound?.until));
});

test("a renewal that lasts longer than what was promised waits for a write", async (t) => {
  const { file, finish } = slowFile();
  const { leases, clock } = leasesOn(file);
  leases.offer(a, subnet);
  leases.bind(a, subnet, ip("10.77.0.100"));
  void leases.committed(a);
  await finish();
  await settled(leases.committed());
  clock.advance(1_800_000);
  leases.bind(a, subnet, ip("10.77.0.100"));
  const renewed = leases.committed(a);
  t.is(await settled(renewed), "waits");
  await finish();
  t.is(await settled(renewed), "done");
});

test("a reserved address needs no write, and waits for nobody's", async (t) => {
  const { file, writes } = slowFile();
  const { leases } = leasesOn(file);
  leases.reserve({ mac: a, subnet });
  leases.offer(b, subnet);
  void leases.committed(b);
  leases.offer(a, subnet);
  leases.bind(a, subnet, ip("10.77.0.10"));
  t.is(await settled(leases.committed(a)), "done");
  t.is(writes.length, 1);
});

test("what ended is written with somebody else's promise", async (t) => {
  const { file, last, finish } = slowFile();
  const { leases } = leasesOn(file);
  leases.offer(a, subnet);
  void leases.committed();
  await finish();
  await settled(leases.committed());
  leases.withdraw(a);
  t.is(await settled(leases.committed(a)), "done");
  leases.offer(b, subnet);
  void leases.committed(b);
  await turns();
  t.deepEqual(
    last()?.records.map((record) => `${record.state} ${record.address}`),
    ["free 10.77.0.100", "promised 10.77.0.101"],
  );
});

test("a disk that refuses is told; the next to ask tries all of it again", async (t) => {
  const { file, writes, last, finish } = slowFile();
  const { leases, published } = leasesOn(file);
  leases.offer(a, subnet);
  const first = t.throwsAsync(leases.committed(a), { instanceOf: UnavailableError });
  await finish(new UnavailableError("no space left on device"));
  await first;
  t.deepEqual(published, []);
  leases.offer(b, subnet);
  const again = Promise.all([leases.committed(a), leases.committed(b)]);
  await turns();
  t.deepEqual(addressesOf(last()?.records), ["10.77.0.100", "10.77.0.101"]);
  await finish();
  await again;
  t.is(published.length, 2);
  t.is(writes.length, 2);
});

test("whoever waits behind a write that fails gets the next one's answer", async (t) => {
  const { file, writes, last, finish } = slowFile();
  const { leases } = leasesOn(file);
  leases.offer(a, subnet);
  const first = t.throwsAsync(leases.committed(a), { instanceOf: UnavailableError });
  await turns();
  leases.offer(b, subnet);
  const second = leases.committed(b);
  await finish(new UnavailableError("input/output error"));
  await first;
  await settled(second);
  t.is(writes.length, 2);
  t.deepEqual(addressesOf(last()?.records), ["10.77.0.100", "10.77.0.101"]);
  await finish();
  await t.notThrowsAsync(second);
});

test("an expiry writes what nobody waits for, and a refusal of that disturbs nobody", async (t) => {
  const { file, writes, finish } = slowFile();
  const { leases, clock } = leasesOn(file);
  leases.offer(a, subnet);
  void leases.committed(a);
  await finish();
  await settled(leases.committed());
  clock.advance(60_000);
  leases.expire();
  await turns();
  t.is(writes.length, 2);
  await finish(new UnavailableError("no space left on device"));
  t.is(await settled(leases.committed(a)), "done");
});

test("without a file nobody waits", async (t) => {
  const { store, clock, events } = network();
  const leases = createLeases({ store, clock, events });
  leases.offer(a, subnet);
  t.is(await settled(leases.committed()), "done");
});

test("an offer found at the start counts as a lease until its promise ends", (t) => {
  const { store, clock, events } = network();
  const until = (clock.now() + 100_000) as Instant;
  const record = { state: "promised", address: ip("10.77.0.100"), mac: a, until } as const;
  const over = { ...record, address: ip("10.77.0.101"), mac: b, until: clock.now() };
  const file = { ...slowFile().file, found: [record, over] };
  const leases = createLeases({ store, file, clock, events });
  t.deepEqual(leases.list(), [{ address: ip("10.77.0.100"), mac: a, state: "bound", until }]);
});
