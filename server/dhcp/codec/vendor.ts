/**
 * Options inside an option: 43 (RFC 2132 §8.4) and iPXE's 175.
 *
 *   +--------+--------+-- ... --+--------+
 *   |  code  | length |  value  |  ...   |  255 may end it early
 *   +--------+--------+-- ... --+--------+
 */

import { PacketError } from "../../errors.ts";

export type Encapsulated = readonly (readonly [code: number, value: Uint8Array])[];

/** Sub-options of 175 (iPXE's `DHCP_EB_*`). */
export const ipxeOption = { version: 0xeb, noProxyDhcp: 0xb0, busId: 0xb1 } as const;

/**
 * What a Raspberry Pi must find in option 43 before it takes an OFFER: PXE discovery
 * control 3, menu prompt "PXE", one menu entry of type 0.
 *
 * The name is padded with three blanks: the ROM of the Pi 2 and 3 takes the length
 * octet for the option's end, and later firmware ignores trailing characters.
 */
export const raspberryPiBoot: Encapsulated = [
  [6, Uint8Array.of(3)],
  [10, Uint8Array.from("\0PXE", (character) => character.charCodeAt(0))],
  [9, Uint8Array.from("\0\0\x14Raspberry Pi Boot   ", (character) => character.charCodeAt(0))],
];

/**
 * @param value - the outer option's value, without its code and length
 * @throws PacketError if a sub-option runs past the end of `value`.
 */
export function decodeEncapsulated(value: Uint8Array): Encapsulated {
  const found: (readonly [number, Uint8Array])[] = [];
  for (let offset = 0; offset < value.length; ) {
    const code = value[offset] ?? 0;
    if (code === 255) break;
    if (code === 0) {
      offset += 1;
      continue;
    }
    const length = value[offset + 1];
    if (length === undefined || offset + 2 + length > value.length) {
      throw new PacketError(`encapsulated option ${code} runs past the end`, offset);
    }
    found.push([code, value.subarray(offset + 2, offset + 2 + length)]);
    offset += 2 + length;
  }
  return found;
}

/** Ends with 255: the PXE specification wants it, and iPXE accepts it. */
export function encodeEncapsulated(options: Encapsulated): Uint8Array {
  return Uint8Array.from([
    ...options.flatMap(([code, value]) => [code, value.length, ...value]),
    255,
  ]);
}
