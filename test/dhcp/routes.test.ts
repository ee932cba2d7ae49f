import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { parseIpv4Address as ip, ipv4FromNumber } from "#protocol/brand.ts";
import { decodeRoutes, encodeRoutes } from "../../server/dhcp/codec/routes.ts";
import { PacketError } from "../../server/errors.ts";
import { hex } from "../support/vectors.ts";

// RFC 3442, "Destination descriptors", with 10.77.0.1 as the router.
const via = ip("10.77.0.1");
const vectors = [
  ["0.0.0.0", 0, "00"],
  ["10.0.0.0", 8, "080a"],
  ["10.0.0.0", 24, "180a0000"],
  ["10.17.0.0", 16, "100a11"],
  ["10.27.129.0", 24, "180a1b81"],
  ["10.229.0.128", 25, "190a e500 80"],
  ["10.198.122.47", 32, "20 0a c6 7a 2f"],
] as const;
for (const [network, prefix, descriptor] of vectors) {
  test(`${network}/${prefix} is ${descriptor}`, (t) => {
    const routes = [{ network: ip(network), prefix, via }];
    const bytes = hex(`${descriptor} 0a4d0001`);
    t.deepEqual(encodeRoutes(routes), bytes);
    t.deepEqual(decodeRoutes(bytes), routes);
  });
}

const refused = [
  ["a prefix of 33", "21 0a0000 00 00 0a4d0001", 0],
  ["a route cut short", "08 0a 0a4d00", 0],
  ["a second route cut short", "00 0a4d0001 18 0a", 5],
] as const;
for (const [title, bytes, offset] of refused) {
  test(`${title} is refused with its offset`, (t) => {
    const error = t.throws(() => decodeRoutes(hex(bytes)), { instanceOf: PacketError });
    t.is(error?.offset, offset);
  });
}

const network = fc
  .tuple(fc.nat(0xffff_ffff), fc.integer({ min: 0, max: 32 }))
  .map(([value, prefix]) => ({
    network: ipv4FromNumber(prefix === 0 ? 0 : (value & (0xffff_ffff << (32 - prefix))) >>> 0),
    prefix,
    via,
  }));
testProp(
  "routes come back as they were",
  [fc.array(network, { maxLength: 8 })],
  (t, routes) => void t.deepEqual(decodeRoutes(encodeRoutes(routes)), routes),
);
