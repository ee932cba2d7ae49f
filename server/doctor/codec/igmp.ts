/**
 * IGMP general queries (RFC 2236 §2, RFC 3376 §4.1), by which a switch with IGMP
 * snooping learns where multicast is wanted. Without a querier it forgets, and
 * multicast ends there.
 *
 * Pure: an Ethernet frame in, the querier's address out.
 */

import { type Ipv4Address, parseIpv4Address } from "#protocol/brand.ts";

const ethernetOctets = 14;
const ipv4Type = 0x0800;
const igmpProtocol = 2;
const membershipQuery = 0x11;

export function decodeQuerier(frame: Uint8Array): Ipv4Address | undefined {
  if (frame.length < ethernetOctets + 28) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (view.getUint16(12) !== ipv4Type) return undefined;
  const first = view.getUint8(ethernetOctets);
  if (first >> 4 !== 4 || view.getUint8(ethernetOctets + 9) !== igmpProtocol) return undefined;
  const message = ethernetOctets + (first & 15) * 4;
  if (frame.length < message + 8 || view.getUint8(message) !== membershipQuery) return undefined;
  const source = frame.subarray(ethernetOctets + 12, ethernetOctets + 16);
  return parseIpv4Address(source.join("."));
}
