/**
 * UEFI PXE over TFTP: loads iPXE, which uses the firmware's network driver (SNP).
 *
 * No option 60 or 43: with them EDK2 may look for a boot server on port 4011;
 * without them it takes the file name as it is (measured with OVMF and AAVMF).
 */

import { architectureOf } from "#protocol/firmware.ts";
import type { BootClient } from "../client.ts";
import type { FirmwareFamily } from "../reply.ts";

/** iPXE for this client's processor, a name of the loaders' table. */
export function ipxeFor(client: BootClient): string {
  const arm = client.firmware !== undefined && architectureOf(client.firmware) === "arm64";
  return arm ? "ipxe-arm64.efi" : "ipxe-x64.efi";
}

export const uefiPxe: FirmwareFamily = {
  firmware: ["uefi-pxe-x64", "uefi-pxe-arm64"],
  reply: (client, server) => ({
    bootFile: ipxeFor(client),
    nextServer: server.address,
    options: [],
  }),
};
