/**
 * Keeps the server from offering an address of the pool that somebody uses already.
 *
 * The addresses that would be offered next are probed ahead, so that a newcomer waits
 * for nothing. Only an offer of another one (a wish, a former address) is held until
 * its probe is over; and none while more newcomers come than ARP should be sent for.
 */

import type { Ipv4Address, MacAddress, Milliseconds } from "#protocol/brand.ts";
import { milliseconds } from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";
import type { Subnet } from "../config.ts";
import type { EventBus } from "../events.ts";
import type { Leases } from "../lease/leases.ts";
import type { Log } from "../log.ts";
import type { ArpProbe } from "../net/arp-probe.ts";
import type { Sightings } from "./sightings.ts";

/** Addresses probed ahead, and at most so many probes a second: the kernel asks three times for each. */
const ahead = 16;
const period: Milliseconds = milliseconds(1000);
/** A probe counts for so long. */
const validity: Milliseconds = milliseconds(300_000);
/** Offers held in one second; above that nobody is held in the next. */
const maximumHeld = 4;

export interface Vetting {
  /**
   * `undefined`: the address may be offered now. Else resolves when it has been probed: true when
   * it may be; false when somebody else has it, and the leases know.
   */
  check(mac: MacAddress, address: Ipv4Address): Promise<boolean> | undefined;
  close(): void;
}

export interface VettingContext {
  readonly interfaceName: string;
  /** Whose clients are on the interface itself; undefined while none of the pool is given. */
  readonly subnet: () => Subnet | undefined;
  readonly leases: Pick<Leases, "spare" | "conflict" | "macOf">;
  readonly probe: ArpProbe;
  /** Of clients that boot with another server's address: they may answer no ARP, and must not be lost. */
  readonly sightings?: Pick<Sightings, "userOf">;
  readonly events: EventBus;
  readonly clock: Clock;
  readonly log: Log;
}

export function createVetting(context: VettingContext): Vetting {
  const { leases, probe, sightings, clock, events, log, interfaceName } = context;
  const probed = new Map<Ipv4Address, Milliseconds>();
  let wanted = 0;
  let wantedBefore = 0;

  const isFresh = (address: Ipv4Address): boolean => {
    const at = probed.get(address);
    return at !== undefined && clock.monotonic() - at < validity;
  };
  /** @param mac - whose answer is no conflict */
  const vet = async (address: Ipv4Address, mac?: MacAddress): Promise<boolean> => {
    const seen = sightings?.userOf(address) ?? (await probe.ask(address));
    if (seen === undefined || seen === mac) {
      probed.set(address, clock.monotonic());
      return true;
    }
    if (seen === leases.macOf(address)) return true; // its own since it was asked for
    leases.conflict(address, seen);
    log.warn({ interface: interfaceName, address, mac: seen }, "address of the pool is in use");
    events.publish({
      topic: "alarm",
      text: `${address} of the pool is used by ${seen}, which has no lease for it`,
    });
    return false;
  };
  const probeAhead = (): void => {
    wantedBefore = wanted;
    wanted = 0;
    for (const [address, at] of probed) {
      if (clock.monotonic() - at >= validity) probed.delete(address);
    }
    const subnet = context.subnet();
    if (!subnet) return;
    for (const address of leases.spare(subnet, ahead)) {
      if (!isFresh(address)) void vet(address);
    }
  };
  const stop = clock.every(period, probeAhead);
  probeAhead();
  return {
    check(mac, address) {
      if (isFresh(address)) {
        probed.delete(address); // it is the client's from now on: asked for again when it is free again
        return undefined;
      }
      wanted += 1;
      if (wanted > maximumHeld || wantedBefore > maximumHeld) return undefined;
      return vet(address, mac);
    },
    close: stop,
  };
}
