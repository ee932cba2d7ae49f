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
const maximumRemembered = 4096; // hardware addresses; anyone can invent them, so the oldest go

interface Sighting {
  readonly at: Milliseconds;
  readonly address?: Ipv4Address;
}

export function createSightings({ clock, neighbourOf }: SightingsContext): Sightings {
  const byMac = new Map<MacAddress, Sighting>();
  const byAddress = new Map<Ipv4Address, MacAddress>();

  const forgetAddress = (mac: MacAddress, address: Ipv4Address | undefined) => {
    if (address && byAddress.get(address) === mac) byAddress.delete(address);
  };
  const put = (mac: MacAddress, address: Ipv4Address | undefined) => {
    forgetAddress(mac, byMac.get(mac)?.address);
    byMac.delete(mac); // to the end of the insertion order
    byMac.set(mac, { at: clock.monotonic(), ...(address && { address }) });
    if (address) byAddress.set(address, mac);
    const [oldest] = byMac;
    if (byMac.size > maximumRemembered && oldest) {
      forgetAddress(oldest[0], oldest[1].address);
      byMac.delete(oldest[0]);
    }
  };
  const isFresh = (mac: MacAddress) => {
    const sighting = byMac.get(mac);
    return sighting !== undefined && clock.monotonic() - sighting.at < remembered;
  };

  return {
    answered: (mac) => put(mac, byMac.get(mac)?.address),
    uses(mac, address) {
      // only of those that were answered: a REQUEST alone is anybody's word
      if (isFresh(mac)) put(mac, address);
    },
    macOf(address) {
      if (byMac.size === 0) return undefined;
      const mac = byAddress.get(address) ?? neighbourOf(address);
      return mac !== undefined && isFresh(mac) ? mac : undefined;
    },
  };
}
