/** The machine's network interfaces, as far as a subnet of the configuration needs them. */

import { networkInterfaces } from "node:os";
import {
  type Ipv4Address,
  type MacAddress,
  parseIpv4Address,
  parseMacAddress,
} from "#protocol/brand.ts";
import { ConfigurationError } from "../errors.ts";

/**
 * The first IPv4 address of an interface: what the server calls itself there.
 *
 * @throws ConfigurationError naming the interface and the ones that exist.
 */
export function interfaceAddress(name: string): Ipv4Address {
  const all = networkInterfaces();
  const found = all[name]?.find((one) => one.family === "IPv4");
  if (found) return parseIpv4Address(found.address);
  const others = Object.entries(all)
    .filter(([, addresses]) => addresses?.some((one) => one.family === "IPv4"))
    .map(([other, addresses]) => `${other} (${addresses?.[0]?.address})`);
  throw new ConfigurationError(
    `interface ${name} ${all[name] ? "has no IPv4 address" : "does not exist or is down"}; ` +
      `interfaces with an address: ${others.join(", ") || "none"}`,
  );
}

/** `undefined` when there is no such interface. */
export function interfaceMac(name: string): MacAddress | undefined {
  const mac = networkInterfaces()[name]?.[0]?.mac;
  return mac === undefined ? undefined : parseMacAddress(mac);
}
