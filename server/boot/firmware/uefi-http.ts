/** UEFI HTTP boot (UEFI 2.10 §24.7): takes a whole URL, and only with option 60 "HTTPClient". */

import type { FirmwareFamily } from "../reply.ts";
import { ipxeFor } from "./uefi-pxe.ts";

export const uefiHttp: FirmwareFamily = {
  firmware: ["uefi-http-x64", "uefi-http-arm64"],
  reply: (client, server) => ({
    bootFile: `${server.httpUrl}/boot/loaders/${ipxeFor(client)}`,
    nextServer: server.address,
    vendorClass: "HTTPClient",
    options: [],
  }),
};
