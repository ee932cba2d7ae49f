/** iPXE, from a ROM or loaded by us: gets the URL of a script made for its node. */

import type { FirmwareFamily } from "../reply.ts";
import { scriptName } from "../script.ts";

/** Option 175, sub-option 176 (no-pxedhcp) = 1: do not wait 3 s for a ProxyDHCP answer. */
const noProxyDhcp = Uint8Array.of(0xb0, 0x01, 0x01);

export const ipxe: FirmwareFamily = {
  firmware: ["ipxe-bios", "ipxe-x64", "ipxe-arm64"],
  reply: (client, server) => ({
    bootFile: `${server.httpUrl}/${scriptName(client.mac)}`,
    nextServer: server.address,
    options: [[175, noProxyDhcp]],
    awaitsIpv6Router: true,
  }),
};
