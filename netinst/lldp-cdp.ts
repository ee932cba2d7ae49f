/**
 * CDP, Cisco's discovery protocol before LLDP, each 60 s. It has no standard; versions 1 and 2
 * are alike in what is read here. Its checksum is left alone: Ethernet has one.
 *
 *   | AA AA 03 00 00 0C 20 00 |  LLC and SNAP (IEEE 802.2), Cisco's protocol 0x2000
 *   | version | time to live, seconds | checksum (2) |
 *   | type (2) | length with these four octets (2) | value |   repeated
 */

import { type Advertisement, textOf } from "./lldp.ts";

const snap = Buffer.from("aaaa0300000c2000", "hex");
const headerOctets = snap.length + 4;
const types = { device: 1, port: 3 } as const;

/** @param unit - what follows the length of an IEEE 802.3 frame. Undefined: not CDP, or cut off */
export function decodeCdp(unit: Uint8Array): Advertisement | undefined {
  const bytes = Buffer.from(unit.buffer, unit.byteOffset, unit.length);
  if (bytes.length < headerOctets || !bytes.subarray(0, snap.length).equals(snap)) return undefined;
  const texts = new Map<number, string>();
  for (let at = headerOctets; at + 4 <= bytes.length; ) {
    const [type, length] = [bytes.readUInt16BE(at), bytes.readUInt16BE(at + 2)];
    if (length < 4 || at + length > bytes.length) return undefined;
    const text = textOf(bytes.subarray(at + 4, at + length));
    if (text !== undefined && !texts.has(type)) texts.set(type, text);
    at += length;
  }
  const [device, port] = [texts.get(types.device), texts.get(types.port)];
  if (device === undefined || port === undefined) return undefined;
  return {
    port: { protocol: "cdp", chassis: device, port, system: device },
    seconds: bytes[snap.length + 1] ?? 0,
  };
}
