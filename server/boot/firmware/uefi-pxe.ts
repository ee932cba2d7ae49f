/**
 * UEFI PXE over TFTP: loads iPXE, which uses the firmware's network driver (SNP),
 * or shim and GRUB where Secure Boot is on.
 *
 * No option 60 or 43: with them EDK2 may look for a boot server on port 4011;
 * without them it takes the file name as it is (measured with OVMF and AAVMF).
 */

import { firstLoader } from "../loaders.ts";
import type { FirmwareFamily } from "../reply.ts";

export const uefiPxe: FirmwareFamily = {
  firmware: ["uefi-pxe-x64", "uefi-pxe-arm64"],
  reply: (client, server, chain) => ({
    bootFile: firstLoader(client, chain),
    nextServer: server.address,
    options: [],
  }),
};
