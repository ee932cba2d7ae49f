/** What firmware a hardware address was last seen running, in bounded memory. */

import type { MacAddress } from "#protocol/brand.ts";
import type { Earlier } from "./client.ts";

export interface Recent {
  get(mac: MacAddress): Earlier | undefined;
  set(mac: MacAddress, earlier: Earlier): void;
}

const maximumRemembered = 4096; // hardware addresses; anyone can invent them, so the oldest go

export function createRecent(): Recent {
  const entries = new Map<MacAddress, Earlier>();
  return {
    get: (mac) => entries.get(mac),
    set(mac, earlier) {
      entries.delete(mac);
      entries.set(mac, earlier);
      const [oldest] = entries.keys();
      if (entries.size > maximumRemembered && oldest) entries.delete(oldest);
    },
  };
}
