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
import type { Subnet } from "../config.ts";
import { contains } from "../lease/leases.ts";
import type { Log } from "../log.ts";
import type { Neighbours } from "../net/neighbours.ts";

export interface Sightings {
  /** The client was sent the boot part of its answer. */
  answered(mac: MacAddress): void;
  /** The client uses this address, or is about to. */
  uses(mac: MacAddress, address: Ipv4Address): void;
  /** We gave the address ourselves (mode `auto` serves again): what was seen of it counts no more. */
  given(address: Ipv4Address): void;
  /** `undefined` for an address of nobody that was answered lately. */
  macOf(address: Ipv4Address): MacAddress | undefined;
  /** Whose the address is as far as it was seen; the kernel is not asked, and nothing noted. */
  userOf(address: Ipv4Address): MacAddress | undefined;
  /** Leaves the kernel's neighbour table as it would be without us. */
  close(): void;
}

export interface SightingsContext {
  readonly clock: Pick<Clock, "monotonic">;
  /** The kernel's neighbour table. */
  readonly neighbourOf: (address: Ipv4Address) => MacAddress | undefined;
  readonly keeper: NeighbourKeeper;
}

/** Keeps the entry of a client that does not answer ARP. Never throws. */
export interface NeighbourKeeper {
  keep(address: Ipv4Address, mac: MacAddress): void;
  release(address: Ipv4Address, mac: MacAddress): void;
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
  /** Its neighbour entry is kept. */
  readonly isKept: boolean;
}

export function createSightings({ clock, neighbourOf, keeper }: SightingsContext): Sightings {
  const waiting = new Map<MacAddress, Sighting>();
  const placed = new Map<MacAddress, Sighting>();
  const byAddress = new Map<Ipv4Address, MacAddress>();

  const isFresh = (mac: MacAddress) => {
    const sighting = placed.get(mac) ?? waiting.get(mac);
    return sighting !== undefined && clock.monotonic() - sighting.at < remembered;
  };
  const forget = (mac: MacAddress) => {
    const { address, isKept = false } = placed.get(mac) ?? {};
    if (address && isKept) keeper.release(address, mac);
    if (address && byAddress.get(address) === mac) byAddress.delete(address);
    placed.delete(mac);
    waiting.delete(mac);
  };
  /** Another has its address now; it was answered all the same. */
  const displace = (mac: MacAddress) => {
    const at = placed.get(mac)?.at;
    forget(mac);
    if (at !== undefined) waiting.set(mac, { at, isKept: false });
  };
  /** To the end of the order; the oldest go when they are too many or too old. */
  const put = (mac: MacAddress, sighting: Sighting) => {
    const { address, isKept } = sighting;
    const former = address && byAddress.get(address);
    if (former && former !== mac) displace(former);
    forget(mac);
    const sightings = address ? placed : waiting;
    sightings.set(mac, sighting);
    if (address) byAddress.set(address, mac);
    if (address && isKept) keeper.keep(address, mac);
    for (const oldest of sightings.keys()) {
      if (sightings.size <= maximumRemembered && isFresh(oldest)) break;
      forget(oldest);
    }
  };

  return {
    answered(mac) {
      put(mac, { isKept: false, ...placed.get(mac), at: clock.monotonic() });
    },
    uses(mac, address) {
      // only of those that were answered: a REQUEST alone is anybody's word
      if (isFresh(mac)) put(mac, { at: clock.monotonic(), address, isKept: false });
    },
    given(address) {
      const former = byAddress.get(address);
      if (former) displace(former);
    },
    macOf(address) {
      if (waiting.size + placed.size === 0) return undefined;
      const known = byAddress.get(address);
      if (known !== undefined && isFresh(known)) return known;
      const mac = neighbourOf(address);
      if (mac === undefined || !isFresh(mac)) return undefined;
      put(mac, { at: clock.monotonic(), address, isKept: true });
      return mac;
    },
    userOf(address) {
      const known = byAddress.get(address);
      return known !== undefined && isFresh(known) ? known : undefined;
    },
    close() {
      for (const mac of [...placed.keys()]) forget(mac);
    },
  };
}

export function createNeighbourKeeper({
  subnets,
  neighbours,
  log,
}: {
  readonly subnets: readonly Subnet[];
  readonly neighbours: Pick<Neighbours, "set" | "release">;
  readonly log: Log;
}): NeighbourKeeper {
  const change = (verb: "set" | "release") => (address: Ipv4Address, mac: MacAddress) => {
    const interfaceName = subnets.find((one) => contains(one, address))?.interface;
    if (interfaceName === undefined) return;
    try {
      neighbours[verb]({ address, mac, interfaceName });
    } catch (error) {
      log.warn({ err: error, mac, address }, "a Raspberry Pi may be lost in mid-transfer");
    }
  };
  return { keep: change("set"), release: change("release") };
}
