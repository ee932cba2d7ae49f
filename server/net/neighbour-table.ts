/**
 * The kernel's neighbour table, read: which hardware address answered for an IPv4
 * address lately. neighbours.ts writes to it.
 *
 *   IP address       HW type     Flags       HW address            Mask     Device
 *   10.77.0.150      0x1         0x2         52:54:00:00:00:01     *        eth1
 */

import { readFileSync } from "node:fs";
import {
  type Ipv4Address,
  type MacAddress,
  parseIpv4Address,
  parseMacAddress,
} from "#protocol/brand.ts";

const table = "/proc/self/net/arp"; // also where /proc/net is hidden from a service
const complete = 0x2; // ATF_COM: the neighbour has answered
const ethernet = "0x1"; // ARPHRD_ETHER: others have longer addresses (InfiniBand)

/** `undefined` for an address nobody answered for, and where the table cannot be read. */
export function neighbourOf(address: Ipv4Address): MacAddress | undefined {
  return findNeighbour(readTable(), address);
}

/** Everybody who answered lately, on any interface. */
export function readNeighbours(text = readTable()): ReadonlyMap<Ipv4Address, MacAddress> {
  const found = new Map<Ipv4Address, MacAddress>();
  for (const line of text.split("\n").slice(1)) {
    const [address = "", type, flags, mac = ""] = line.split(/ +/);
    if (type === ethernet && (Number(flags) & complete) !== 0) {
      found.set(parseIpv4Address(address), parseMacAddress(mac));
    }
  }
  return found;
}

function readTable(): string {
  try {
    return readFileSync(table, "ascii");
  } catch {
    return ""; // no /proc: then nobody is known
  }
}

export function findNeighbour(text: string, address: Ipv4Address): MacAddress | undefined {
  for (const line of text.split("\n")) {
    const [one, type, flags, mac = ""] = line.split(/ +/);
    if (one !== address || type !== ethernet || (Number(flags) & complete) === 0) continue;
    return parseMacAddress(mac);
  }
  return undefined;
}
