/**
 * Raspberry Pi 2 v1.2 to 5: mask ROM with bootcode.bin, or EEPROM.
 *
 * It takes no boot file name: TFTP is a remote file system to it (pi-files.ts).
 * It takes the answer only with "Raspberry Pi Boot" in option 43.
 */

import { seconds, toMilliseconds } from "#protocol/brand.ts";
import type { BootClient } from "../client.ts";
import type { BootReply, BootServer, FirmwareFamily } from "../reply.ts";

const text = new TextEncoder();

/**
 * Option 43 (PXE 2.1, table 2-1): discovery control 3 (neither broadcast nor
 * multicast), an empty prompt "PXE", and a menu of one entry. The three spaces
 * make up for a length bug of the old ROM; later ones ignore them.
 */
const vendorOptions = Uint8Array.of(
  ...[0x06, 0x01, 0x03],
  ...[0x0a, 0x04, 0x00, ...text.encode("PXE")],
  ...[0x09, 0x17, 0x00, 0x00, 0x14, ...text.encode("Raspberry Pi Boot   ")],
  0xff,
);

/**
 * The mask ROM of a Pi 2 or 3 can lock up in a loop when the DHCP answer and the
 * PXE answer of two servers come within about 2 s (raspberrypi/firmware#934, #859).
 * One server's single answer never did it.
 */
const afterTheOtherServer = toMilliseconds(seconds(2));

export const raspberryPi: FirmwareFamily = {
  firmware: ["raspberry-pi-3", "raspberry-pi-4", "raspberry-pi-5"],
  reply: (client, server) => ({
    nextServer: server.address,
    serverName: server.address,
    vendorClass: "PXEClient",
    options: [[43, vendorOptions]],
    ...delayOf(client, server),
  }),
};

function delayOf(client: BootClient, server: BootServer): Pick<BootReply, "delay"> {
  const locksUp = client.firmware === "raspberry-pi-3" && server.proxy === true;
  return locksUp ? { delay: afterTheOtherServer } : {};
}
