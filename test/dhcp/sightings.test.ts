import test from "ava";
import type { MacAddress } from "#protocol/brand.ts";
import { createSightings, type NeighbourKeeper } from "../../server/dhcp/sightings.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { ip, mac } from "../support/network.ts";

const a = mac("52:54:00:00:00:01");
const b = mac("52:54:00:00:00:02");
const address = ip("10.77.0.150");
const another = ip("10.77.0.151");

function sightings(neighbour?: string) {
  const clock = createFakeClock();
  const table = { neighbour };
  const neighbourOf = () => (table.neighbour === undefined ? undefined : mac(table.neighbour));
  const kept: string[] = [];
  const keeper: NeighbourKeeper = {
    keep: (one, of) => void kept.push(`${one} ${of}`),
    release: (one, of) => void kept.splice(kept.indexOf(`${one} ${of}`), 1),
  };
  return { clock, table, kept, ...createSightings({ clock, neighbourOf, keeper }) };
}

test("an address belongs to the client that was answered and named it", (t) => {
  const { answered, uses, macOf } = sightings();
  answered(a);
  uses(a, address);
  t.is(macOf(address), a);
});

test("the word of a client nobody answered counts for nothing", (t) => {
  const { uses, macOf } = sightings();
  uses(a, address);
  t.is(macOf(address), undefined);
});

test("a Raspberry Pi 3 that named no address is known by the kernel's neighbour table", (t) => {
  const { answered, macOf } = sightings(a);
  t.is(macOf(address), undefined);
  answered(a);
  t.is(macOf(address), a);
});

test("its neighbour entry is kept, and no other's", (t) => {
  const { answered, uses, macOf, kept } = sightings(a);
  answered(a);
  macOf(address);
  macOf(address);
  t.deepEqual(kept, [`${address} ${a}`]);
  answered(b);
  uses(b, another);
  t.deepEqual(kept, [`${address} ${a}`]);
});

test("a kept entry ends when its client takes another address, or another its address", (t) => {
  const { answered, uses, macOf, kept } = sightings(a);
  answered(a);
  macOf(address);
  macOf(another);
  t.deepEqual(kept, [`${another} ${a}`]);
  answered(b);
  uses(b, another);
  t.deepEqual(kept, []);
  t.is(macOf(another), b);
});

test("a kept entry ends with its time, at the next word of anybody, and at the end", (t) => {
  const { clock, table, answered, macOf, kept, close } = sightings(a);
  answered(a);
  macOf(address);
  clock.advance(1_800_000);
  answered(b);
  table.neighbour = b;
  macOf(another);
  t.deepEqual(kept, [`${another} ${b}`]);
  close();
  t.deepEqual(kept, []);
});

test("a neighbour that was not answered is nobody", (t) => {
  const { answered, macOf } = sightings(b);
  answered(a);
  t.is(macOf(address), undefined);
});

test("an address that changes hands belongs to the last", (t) => {
  const { answered, uses, macOf } = sightings();
  answered(a);
  uses(a, address);
  answered(b);
  uses(b, address);
  uses(a, another);
  t.is(macOf(address), b);
  t.is(macOf(another), a);
});

test("half an hour after its last word a client is forgotten", (t) => {
  const { clock, answered, uses, macOf } = sightings();
  answered(a);
  uses(a, address);
  clock.advance(1_799_999);
  t.is(macOf(address), a);
  clock.advance(1);
  t.is(macOf(address), undefined);
});

function invent(count: number): readonly MacAddress[] {
  return Array.from({ length: count }, (_, index) => {
    const octets = [index >> 8, index & 255].map((one) => one.toString(16).padStart(2, "0"));
    return mac(`02:00:00:00:${octets.join(":")}`);
  });
}

test("of invented hardware addresses the oldest are forgotten", (t) => {
  const { answered, uses, macOf } = sightings();
  const [first = a, ...others] = invent(4097);
  answered(first);
  for (const one of others) answered(one);
  uses(first, address);
  t.is(macOf(address), undefined);
});

test("a client whose address is known outlasts a flood of DISCOVERs", (t) => {
  const { answered, uses, macOf } = sightings();
  answered(a);
  uses(a, address);
  for (const one of invent(10_000)) answered(one);
  t.is(macOf(address), a);
});

test("the user of an address is told without a look at the kernel, for as long as it counts", (t) => {
  const { clock, answered, uses, userOf, kept } = sightings(b);
  answered(a);
  answered(b);
  t.is(userOf(address), undefined);
  uses(a, address);
  t.is(userOf(address), a);
  t.deepEqual(kept, []);
  clock.advance(1_800_000);
  t.is(userOf(address), undefined);
});
