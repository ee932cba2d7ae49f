/**
 * What firmware a hardware address was last seen running, in bounded memory. A flood
 * of invented addresses pushes out strangers only: a Raspberry Pi 4 whose DISCOVER
 * was forgotten would be taken for an OS when its REQUEST comes, and not boot.
 */

import type { MacAddress } from "#protocol/brand.ts";
import type { Earlier } from "./client.ts";

export interface Recent {
  get(mac: MacAddress): Earlier | undefined;
  /** @param isReserved - it has a reservation: kept apart from those anybody can invent */
  set(mac: MacAddress, earlier: Earlier, isReserved?: boolean): void;
}

const maximumRemembered = 4096; // of each kind; the oldest go

export function createRecent(): Recent {
  const reserved = new Map<MacAddress, Earlier>();
  const others = new Map<MacAddress, Earlier>();
  return {
    get: (mac) => reserved.get(mac) ?? others.get(mac),
    set(mac, earlier, isReserved = false) {
      const entries = isReserved ? reserved : others;
      reserved.delete(mac);
      others.delete(mac);
      entries.set(mac, earlier); // to the end of the insertion order
      const [oldest] = entries.keys();
      if (entries.size > maximumRemembered && oldest) entries.delete(oldest);
    },
  };
}
