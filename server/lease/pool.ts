/**
 * The order in which the addresses of one range are given: those never given
 * first, from the lowest on, then the one that has been free longest, so that a
 * client that comes back finds its former address still free.
 *
 * Which address is free is the caller's knowledge (leases.ts); here is only the
 * order, without a walk over the range per packet.
 */

import { type Ipv4Address, ipv4FromNumber, ipv4ToNumber } from "#protocol/brand.ts";
import type { AddressRange } from "../config.ts";

export interface Pool {
  /** The next address that is free; undefined when there is none. */
  take(isFree: (address: Ipv4Address) => boolean): Ipv4Address | undefined;
  /** Up to `count` addresses that {@link take} would give next. */
  peek(count: number, isFree: (address: Ipv4Address) => boolean): readonly Ipv4Address[];
  /** The address is free from now on. */
  give(address: Ipv4Address): void;
}

export function createPool(range: AddressRange): Pool {
  const first = ipv4ToNumber(range.first);
  const last = ipv4ToNumber(range.last);
  let untouched = first;
  const freed = new Set<Ipv4Address>();
  // One iterator for many calls: a new one would step over every hole from the start.
  let next = freed.values();

  const takeFreed = (isFree: (address: Ipv4Address) => boolean): Ipv4Address | undefined => {
    for (let count = freed.size; count > 0; count--) {
      let step = next.next();
      if (step.done) {
        next = freed.values();
        step = next.next();
      }
      if (step.done) return undefined;
      if (isFree(step.value)) {
        freed.delete(step.value);
        return step.value;
      }
      freed.delete(step.value); // taken by a client that wished for it; given back when it ends
    }
    return undefined;
  };
  return {
    take(isFree) {
      while (untouched <= last) {
        const address = ipv4FromNumber(untouched++);
        if (isFree(address)) {
          freed.delete(address);
          return address;
        }
      }
      return takeFreed(isFree);
    },
    peek(count, isFree) {
      const found: Ipv4Address[] = [];
      for (let value = untouched; value <= last && found.length < count; value++) {
        const address = ipv4FromNumber(value);
        if (isFree(address)) found.push(address);
        else if (value - untouched > 4 * count) break; // a long row of taken ones: not worth a walk
      }
      for (const address of freed) {
        if (found.length >= count) break;
        if (isFree(address) && !found.includes(address)) found.push(address);
      }
      return found;
    },
    give(address) {
      const value = ipv4ToNumber(address);
      if (value >= first && value < untouched) freed.add(address);
    },
  };
}
