/**
 * Which chain of loaders a node's firmware starts: found out by trying.
 *
 * No DHCP packet tells whether Secure Boot is on. The firmware's behaviour does:
 * it fetches iPXE, refuses to start it, and asks again as a firmware, while an
 * iPXE that started asks as iPXE (and GRUB for its grub.cfg). A chain that was
 * fetched and did not call is therefore followed by the other one, most often
 * within the same power-on, as the firmware's next boot entry.
 *
 *             fetched           firmware asks again
 *   offered ----------> begun ----------------------> offered, the other chain
 *      ^                  |
 *      +------------------+  the loader itself calls: this chain works here
 *
 * A node that lost its power between the two is offered the signed chain without
 * need. That starts it too, only slower.
 */

import type { MacAddress } from "#protocol/brand.ts";
import type { LoaderChain } from "./loaders.ts";

export interface LoaderChains {
  /** The firmware asks by DHCP: the chain to offer it. `changed`: the other one did not start. */
  offer(mac: MacAddress): { readonly chain: LoaderChain; readonly changed: boolean };
  /** It fetches the first loader of a chain. */
  fetched(mac: MacAddress, chain: LoaderChain): void;
  /** iPXE or GRUB runs on it. */
  called(mac: MacAddress, chain: LoaderChain): void;
}

interface Tried {
  readonly chain: LoaderChain;
  readonly begun: boolean;
}

/** Anyone can invent MAC addresses; the oldest is forgotten first. */
const maxRemembered = 4096;

export function createLoaderChains(): LoaderChains {
  const tried = new Map<MacAddress, Tried>();
  const remember = (mac: MacAddress, next: Tried): void => {
    tried.delete(mac);
    tried.set(mac, next);
    const [oldest] = tried.keys();
    if (tried.size > maxRemembered && oldest !== undefined) tried.delete(oldest);
  };
  return {
    offer(mac) {
      const { chain, begun } = tried.get(mac) ?? { chain: "ipxe", begun: false };
      if (!begun) return { chain, changed: false };
      const other = chain === "ipxe" ? "signed" : "ipxe";
      remember(mac, { chain: other, begun: false });
      return { chain: other, changed: true };
    },
    fetched: (mac, chain) => remember(mac, { chain, begun: true }),
    called: (mac, chain) => remember(mac, { chain, begun: false }),
  };
}
