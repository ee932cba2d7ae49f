/** What a slot is given when the rack file does not say it: host name and address. Pure. */

import {
  type Ipv4Address,
  ipv4FromNumber,
  ipv4ToNumber,
  parseIpv4Address,
} from "#protocol/brand.ts";
import type { Rack, Stack } from "#protocol/rack.ts";
import { defaultHostnames, fill } from "./pattern.ts";

/** Where a slot stands in its file; all numbers from 0. */
export interface Position {
  readonly stackIndex: number;
  /** In its stack. */
  readonly slotIndex: number;
  /** In the rack. */
  readonly number: number;
}

export function plannedHostname(
  rack: Pick<Rack, "name" | "hostnames">,
  stack: string,
  slot: string,
  { number }: Position,
): string {
  return fill(rack.hostnames ?? defaultHostnames, { rack: rack.name, stack, slot, n: number + 1 });
}

/** @returns undefined where nobody planned one, or beyond 255.255.255.255 */
export function plannedAddress(
  { addresses }: Pick<Rack, "addresses">,
  { firstAddress }: Pick<Stack, "firstAddress">,
  { stackIndex, slotIndex, number }: Position,
): Ipv4Address | undefined {
  if (firstAddress !== undefined) return addressAfter(firstAddress, slotIndex);
  if (!addresses) return undefined;
  const { first, perStack } = addresses;
  return addressAfter(first, perStack === undefined ? number : stackIndex * perStack + slotIndex);
}

function addressAfter(first: string, count: number): Ipv4Address | undefined {
  const number = ipv4ToNumber(parseIpv4Address(first)) + count;
  return number > 0xffff_ffff ? undefined : ipv4FromNumber(number);
}

export interface Network {
  readonly first: number;
  readonly last: number;
}

/** @throws RangeError when `cidr` is no IPv4 network. */
export function parseNetwork(cidr: string): Network {
  const [text = "", prefixText = ""] = cidr.split("/");
  const prefix = /^\d{1,2}$/.test(prefixText) ? Number(prefixText) : -1;
  if (prefix < 8 || prefix > 30) throw new RangeError(`${cidr} has no prefix length 8-30`);
  const first = ipv4ToNumber(parseIpv4Address(text));
  const size = 2 ** (32 - prefix);
  if (first % size !== 0) throw new RangeError(`${cidr}: host bits are set`);
  return { first, last: first + size - 1 };
}

/** Why a node cannot have this address on that network; undefined when it can. */
export function misfit(address: string, cidr: string): string | undefined {
  const { first, last } = parseNetwork(cidr);
  const number = ipv4ToNumber(parseIpv4Address(address));
  if (number < first || number > last) return `${address} is outside of subnet ${cidr}`;
  if (number === first || number === last) {
    return `${address} is the network or broadcast address of ${cidr}`;
  }
  return undefined;
}
