/** What a switch tells of the port a node hangs on, by LLDP (IEEE 802.1AB) or CDP. The node hears it, and tells it. */

import type { Instant } from "./brand.ts";

export interface SwitchPort {
  readonly protocol: "lldp" | "cdp";
  /** What tells the switch from others: a hardware address, a name, a number. */
  readonly chassis: string;
  /** `gi1/0/7`, or a number or hardware address where the switch has no names. */
  readonly port: string;
  readonly description?: string;
  /** Name of the switch. */
  readonly system?: string;
}

/** What one boot of a node has heard: of several switches where one between passes such frames on. */
export interface SwitchPorts {
  readonly heard: readonly SwitchPort[];
  /** When it was told first. */
  readonly at: Instant;
  /** Of the boot that told it. */
  readonly bootId: string;
}

/** Longest list an agent tells. */
export const mostSwitchPorts = 8;

export function switchPortText({
  protocol,
  chassis,
  port,
  description,
  system,
}: SwitchPort): string {
  const words = description === undefined || description === port ? "" : ` (${description})`;
  return `${port}${words} of ${system ?? chassis}, by ${protocol.toUpperCase()}`;
}
