/**
 * How a subnet is served at this moment.
 *
 *   setting        now
 *   reservation    reservation
 *   dynamic        dynamic
 *   proxy          proxy
 *   off            off
 *   auto           listening -> (nobody heard) reservation or dynamic
 *                            -> (another DHCP server heard) proxy -> (silent for long) serving again
 *
 * `auto` never fights: from the first word of another DHCP server on, it gives no
 * address, whatever it gave before. Pure but for the clock it is handed.
 */

import { type Milliseconds, milliseconds, unreachable } from "#protocol/brand.ts";
import type { Subnet } from "../config.ts";

/** `listening`: mode `auto` has not decided yet; nobody is answered. */
export type ServingMode = "reservation" | "dynamic" | "proxy" | "listening" | "off";

export interface Modes {
  of(subnet: Subnet): ServingMode;
}

/**
 * How long `auto` listens before it serves. Some servers probe an address for 3 s
 * before they offer it (dnsmasq); a Raspberry Pi 3 gives up after 25 s.
 */
export const listeningTime: Milliseconds = milliseconds(6_000);
/** After this long without a word of the other server, though asked, `auto` serves again. */
export const deferenceTime: Milliseconds = milliseconds(300_000);

/** What mode `auto` rests on; all times monotonic. */
export interface Heard {
  /** When listening began. */
  readonly since: Milliseconds;
  readonly now: Milliseconds;
  /** When another server that gives addresses was last heard. */
  readonly lastHeard: Milliseconds | undefined;
}

export function modeNow(subnet: Pick<Subnet, "mode" | "pool">, heard: Heard): ServingMode {
  switch (subnet.mode) {
    case "reservation":
    case "dynamic":
    case "proxy":
    case "off":
      return subnet.mode;
    case "auto": {
      const { since, now, lastHeard } = heard;
      if (lastHeard !== undefined && now - lastHeard < deferenceTime) return "proxy";
      if (now - since < listeningTime) return "listening";
      return subnet.pool ? "dynamic" : "reservation";
    }
    default:
      return unreachable(subnet.mode);
  }
}

/** For a server that hears nobody: `auto` never comes to a decision. */
export const modesAsSet: Modes = {
  of: (subnet) =>
    modeNow(subnet, { since: milliseconds(0), now: milliseconds(0), lastHeard: undefined }),
};

/** Whether its clients may need an answer without an address, on port 4011 too. */
export function mayBeProxy({ mode }: Pick<Subnet, "mode">): boolean {
  return mode === "proxy" || mode === "auto";
}

/** Its addresses are ours to give: nobody else puts them on other nodes. */
export function givesAddresses(mode: ServingMode | undefined): boolean {
  return mode === "reservation" || mode === "dynamic";
}
