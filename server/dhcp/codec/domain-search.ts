/**
 * DHCP option 119, Domain Search (RFC 3397): a list of names in the encoding of
 * RFC 1035 §4.1.4, where a pointer stands for an ending that came before.
 *
 *   0                    1 ... n
 *   +--------------------+----------+
 *   | 00 | length (6)    |  label   |  repeated; length 0 ends the name
 *   +--------------------+----------+
 *   | 11 | offset (14), from the option's start |  ends the name
 *   +--------------------+---------------------+
 */

import { PacketError } from "../../errors.ts";

const maximumLabel = 63;
const maximumName = 253;
const pointerMark = 0xc0;

/** @throws RangeError if a label is empty or longer than 63 octets: a fault of the settings. */
export function encodeDomainSearch(names: readonly string[]): Uint8Array {
  const out: number[] = [];
  const offsets = new Map<string, number>();
  for (const name of names) {
    const labels = name.split(".");
    for (let index = 0; index <= labels.length; index++) {
      const ending = labels.slice(index).join(".").toLowerCase();
      const earlier = offsets.get(ending);
      if (earlier !== undefined) {
        out.push(pointerMark | (earlier >> 8), earlier & 0xff);
        break;
      }
      const label = labels[index];
      if (label === undefined) {
        out.push(0);
        break;
      }
      if (label.length === 0 || label.length > maximumLabel) {
        throw new RangeError(`${JSON.stringify(label)} is no label of a domain name`);
      }
      offsets.set(ending, out.length);
      out.push(label.length, ...new TextEncoder().encode(label));
    }
  }
  return Uint8Array.from(out);
}

/** @throws PacketError if a name runs past the end, is longer than 253 octets, or a pointer leads forward. */
export function decodeDomainSearch(value: Uint8Array): readonly string[] {
  const names: string[] = [];
  for (let offset = 0; offset < value.length; ) {
    const { name, end } = readName(value, offset);
    if (name !== "") names.push(name);
    offset = end;
  }
  return names;
}

/** `end`: where the next name begins, behind the first pointer if there was one. */
function readName(value: Uint8Array, start: number): { name: string; end: number } {
  const labels: string[] = [];
  let end: number | undefined;
  let at = start;
  for (;;) {
    const length = value[at];
    if (length === undefined) throw new PacketError("option 119: name runs past the end", at);
    if (length === 0) return { name: labels.join("."), end: end ?? at + 1 };
    if (length >= pointerMark) {
      const low = value[at + 1];
      if (low === undefined) throw new PacketError("option 119: pointer runs past the end", at);
      const target = ((length & ~pointerMark) << 8) | low;
      // backwards only, so that following it ends
      if (target >= at) throw new PacketError("option 119: pointer leads forward", at);
      end ??= at + 2;
      at = target;
      continue;
    }
    const label = value.subarray(at + 1, at + 1 + length);
    if (length > maximumLabel || label.length !== length) {
      throw new PacketError("option 119: label runs past the end", at);
    }
    labels.push(String.fromCharCode(...label));
    if (labels.join(".").length > maximumName) {
      throw new PacketError(`option 119: name longer than ${maximumName} octets`, at);
    }
    at += 1 + length;
  }
}
