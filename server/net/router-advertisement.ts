/**
 * "Here is no IPv6 router": a router advertisement with lifetime 0 and nothing else (RFC 4861
 * §4.2, §6.2.5). iPXE asks for routers in every boot and waits 16 s for one, even when it has all
 * it needs by DHCP.
 *
 *   0                                        40                            56
 *   +----------------------------------------+-----------------------------+
 *   | IPv6 header (hop limit 255)            | ICMPv6 134, all zero        |
 *   +----------------------------------------+-----------------------------+
 *
 * It goes to one client alone, by the link-local address iPXE makes of its hardware address: to
 * others, a router that really is there would be gone.
 */

import type { MacAddress } from "#protocol/brand.ts";
import { complement, sumOf } from "./checksum.ts";

const headerSize = 40;
const bodySize = 16;
const icmpV6 = 58;
const routerAdvertisement = 134;

/** Both ends are the link-local addresses of hardware addresses. */
export function encodeNoRouter(from: MacAddress, to: MacAddress): Uint8Array {
  const bytes = new Uint8Array(headerSize + bodySize);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 0x60); // version 6
  view.setUint16(4, bodySize);
  view.setUint8(6, icmpV6);
  view.setUint8(7, 255); // hop limit: what a router would have forwarded is not believed
  bytes.set(linkLocal(from), 8);
  bytes.set(linkLocal(to), 24);
  view.setUint8(headerSize, routerAdvertisement);
  const pseudo = sumOf(view, 8, headerSize) + bodySize + icmpV6; // RFC 8200 §8.1
  view.setUint16(headerSize + 2, complement(pseudo + sumOf(view, headerSize, bytes.length)));
  return bytes;
}

/** fe80::/64 with the modified EUI-64 of a hardware address (RFC 4291, appendix A). */
function linkLocal(mac: MacAddress): readonly number[] {
  const [first = 0, ...rest] = mac.split(":").map((octet) => Number.parseInt(octet, 16));
  const [second = 0, third = 0, ...last] = rest;
  return [0xfe, 0x80, 0, 0, 0, 0, 0, 0, first ^ 2, second, third, 0xff, 0xfe, ...last];
}
