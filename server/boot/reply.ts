/** What a DHCP answer tells a boot client, in the terms of DHCP but not in its encoding. */

import type { Ipv4Address, Milliseconds } from "#protocol/brand.ts";
import type { FirmwareName } from "#protocol/firmware.ts";
import type { BootClient } from "./client.ts";
import type { LoaderChain } from "./loaders.ts";

/** The server as the clients of one subnet reach it. */
export interface BootServer {
  readonly address: Ipv4Address;
  /** `http://10.77.0.1:8080`, no slash at the end. */
  readonly httpUrl: string;
  /** Another DHCP server gives the addresses there, and we add the boot part (ProxyDHCP). */
  readonly proxy?: boolean;
}

export interface BootReply {
  /** Option 67 and `file`. Absent for a Raspberry Pi, which has names of its own. */
  readonly bootFile?: string;
  /** `siaddr`; the answer must also be sent from this address. */
  readonly nextServer: Ipv4Address;
  /** Option 66. */
  readonly serverName?: string;
  /** Option 60. */
  readonly vendorClass?: string;
  /** Further options (43, 175), values ready to send. Option 97 is echoed by the DHCP room. */
  readonly options: readonly (readonly [code: number, value: Uint8Array])[];
  /** The answer is held back this long: some firmware hangs when it comes at once. Absent: none. */
  readonly delay?: Milliseconds;
  /** The firmware waits for an IPv6 router even so: it is told that there is none. */
  readonly awaitsIpv6Router?: true;
}

/** One kind of firmware: which names it has, and how each is answered. */
export interface FirmwareFamily {
  readonly firmware: readonly FirmwareName[];
  /** @param chain - of loaders, for a firmware that may have Secure Boot on; the others do not look at it */
  reply(client: BootClient, server: BootServer, chain: LoaderChain): BootReply;
}
