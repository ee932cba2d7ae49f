/** UEFI HTTP boot (UEFI 2.10 §24.7): takes a whole URL, and only with option 60 "HTTPClient". */

import { firstLoader } from "../loaders.ts";
import type { FirmwareFamily } from "../reply.ts";

export const uefiHttp: FirmwareFamily = {
  firmware: ["uefi-http-x64", "uefi-http-arm64"],
  reply: (client, server, chain) => ({
    bootFile: `${server.httpUrl}/boot/loaders/${firstLoader(client, chain)}`,
    nextServer: server.address,
    vendorClass: "HTTPClient",
    options: [],
  }),
};
