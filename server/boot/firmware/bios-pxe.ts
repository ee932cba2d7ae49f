/** PXE ROM of a PC (PXE 2.1): loads iPXE, which takes over the ROM's own driver (UNDI). */

import type { FirmwareFamily } from "../reply.ts";

/** Option 43, sub-option 6 = 8: no boot server discovery, the named file is to be loaded. */
const vendorOptions = Uint8Array.of(0x06, 0x01, 0x08, 0xff);

export const biosPxe: FirmwareFamily = {
  firmware: ["bios-pxe"],
  reply: (_client, server) => ({
    bootFile: "undionly.kpxe",
    nextServer: server.address,
    serverName: server.address,
    vendorClass: "PXEClient",
    options: [[43, vendorOptions]],
  }),
};
