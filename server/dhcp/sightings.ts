/**
 * Who boots with an address that another DHCP server gave it (mode `proxy`): what
 * TFTP and HTTP boot need to know whom they serve, since no lease tells it.
 *
 * A client is noted when we send it the boot part, and its address when it names
 * one: in the REQUEST that is broadcast for the other server, or on port 4011. The
 * mask ROM of a Raspberry Pi 2 or 3 sends neither; but it asks for our hardware
 * address before it asks for a file, and so the kernel knows its own.
 */

import {
  type Ipv4Address,
  type MacAddress,
  type Milliseconds,
  milliseconds,
} from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";

export interface Sightings {
  /** The client was sent the boot part of its answer. */
  answered(mac: MacAddress): void;
  /** The client uses this address, or is about to. */
  uses(mac: MacAddress, address: Ipv4Address): void;
  /** `undefined` for an address of nobody that was answered lately. */
  macOf(address: Ipv4Address): MacAddress | undefined;
}

export interface SightingsContext {
  readonly clock: Pick<Clock, "monotonic">;
  /** The kernel's neighbour table. */
  readonly neighbourOf: (address: Ipv4Address) => MacAddress | undefined;
}

/** From the firmware's first word to the agent's: a slow rack installs for hours, but fetches files in minutes. */
const remembered: Milliseconds = milliseconds(1_800_000);
/**
 * Of those that were only answered, and of those whose address is known: anyone can
 * invent hardware addresses, so the oldest go. A flood of DISCOVERs leaves the second alone.
 */
const maximumRemembered = 4096;

interface Sighting {
  readonly at: Milliseconds;
  readonly address?: Ipv4Address;
}

export function createSightings({ clock, neighbourOf }: SightingsContext): Sightings {
  const waiting = new Map<MacAddress, Sighting>();
  const placed = new Map<MacAddress, Sighting>();
  const byAddress = new Map<Ipv4Address, MacAddress>();

  const sightingOf = (mac: MacAddress) => placed.get(mac) ?? waiting.get(mac);
  const forget = (mac: MacAddress) => {
    const address = placed.get(mac)?.address;
    if (address && byAddress.get(address) === mac) byAddress.delete(address);
    placed.delete(mac);
    waiting.delete(mac);
  };
  const put = (mac: MacAddress, address: Ipv4Address | undefined) => {
    forget(mac);
    const sightings = address ? placed : waiting;
    sightings.set(mac, { at: clock.monotonic(), ...(address && { address }) });
    if (address) byAddress.set(address, mac);
    const [oldest] = sightings.keys();
    if (sightings.size > maximumRemembered && oldest) forget(oldest);
  };
  const isFresh = (mac: MacAddress) => {
    const sighting = sightingOf(mac);
    return sighting !== undefined && clock.monotonic() - sighting.at < remembered;
  };

  return {
    answered: (mac) => put(mac, placed.get(mac)?.address),
    uses(mac, address) {
      // only of those that were answered: a REQUEST alone is anybody's word
      if (isFresh(mac)) put(mac, address);
    },
    macOf(address) {
      if (waiting.size + placed.size === 0) return undefined;
      const mac = byAddress.get(address) ?? neighbourOf(address);
      return mac !== undefined && isFresh(mac) ? mac : undefined;
    },
  };
}
