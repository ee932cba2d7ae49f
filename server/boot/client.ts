/**
 * Who is asking to boot: what one DHCP packet says about its sender.
 *
 * Made by dhcp/client.ts, which classifies packets; read by profile.ts, which
 * answers by firmware. Nothing here knows DHCP's encoding.
 */

import type { MacAddress } from "#protocol/brand.ts";
import type { FirmwareName } from "#protocol/firmware.ts";

export interface BootClient {
  readonly mac: MacAddress;
  /** Absent: a running OS or another device, which gets no boot file. */
  readonly firmware?: FirmwareName;
  /** iPXE asks (option 77 or 175), whatever firmware started it. */
  readonly ipxe: boolean;
  /** SMBIOS UUID of option 97 in its usual text form; absent when missing or all zero. */
  readonly uuid?: string;
  /** Serial of a Raspberry Pi: 8 lower-case hexadecimal digits, its TFTP directory. */
  readonly serial?: string;
  /** Option 60 as text. */
  readonly vendorClass?: string;
  /** Option 93, in the order sent (RFC 4578 §2.1); empty when missing. */
  readonly architectures: readonly number[];
  /** Option 82, where a relay agent or a switch wrote it: the port it hangs on, in hexadecimal digits. */
  readonly circuit?: { readonly id: string; readonly remote?: string };
  /** Recognised as a Raspberry Pi by nothing better than its hardware address. */
  readonly byOui?: boolean;
}
