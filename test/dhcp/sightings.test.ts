import test from "ava";
import type { MacAddress } from "#protocol/brand.ts";
import { createSightings } from "../../server/dhcp/sightings.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { ip, mac } from "../support/network.ts";

const a = mac("52:54:00:00:00:01");
const b = mac("52:54:00:00:00:02");
const address = ip("10.77.0.150");
const another = ip("10.77.0.151");

function sightings(neighbour?: string) {
  const clock = createFakeClock();
  const neighbourOf = () => (neighbour === undefined ? undefined : mac(neighbour));
  return { clock, ...createSightings({ clock, neighbourOf }) };
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
