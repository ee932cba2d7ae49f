/**
 * DHCP option 121, Classless Static Routes (RFC 3442).
 *
 *   0        1 ... ceil(prefix / 8)   4 octets
 *   +--------+------------------------+---------+
 *   | prefix |  network, cut to that  | router  |  repeated to the end of the option
 *   +--------+------------------------+---------+
 */

import { type Ipv4Address, ipv4FromNumber, ipv4ToNumber } from "#protocol/brand.ts";
import { PacketError } from "../../errors.ts";

export interface Route {
  readonly network: Ipv4Address;
  readonly prefix: number;
  readonly via: Ipv4Address;
}

export function encodeRoutes(routes: readonly Route[]): Uint8Array {
  return Uint8Array.from(
    routes.flatMap(({ network, prefix, via }) => [
      prefix,
      ...octetsOf(network).slice(0, Math.ceil(prefix / 8)),
      ...octetsOf(via),
    ]),
  );
}

/** @throws PacketError if a prefix is above 32, or a route runs past the end. */
export function decodeRoutes(value: Uint8Array): readonly Route[] {
  const routes: Route[] = [];
  for (let offset = 0; offset < value.length; ) {
    const prefix = value[offset] ?? 0;
    const significant = Math.ceil(prefix / 8);
    const end = offset + 1 + significant + 4;
    if (prefix > 32) throw new PacketError(`option 121: prefix length ${prefix}`, offset);
    if (end > value.length) throw new PacketError("option 121: route runs past the end", offset);
    routes.push({
      network: addressAt(value.subarray(offset + 1, offset + 1 + significant)),
      prefix,
      via: addressAt(value.subarray(end - 4, end)),
    });
    offset = end;
  }
  return routes;
}

function octetsOf(address: Ipv4Address): readonly number[] {
  const value = ipv4ToNumber(address);
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff);
}

/** What is missing at the end is zero. */
function addressAt(octets: Uint8Array): Ipv4Address {
  return ipv4FromNumber([0, 1, 2, 3].reduce((sum, index) => sum * 256 + (octets[index] ?? 0), 0));
}
