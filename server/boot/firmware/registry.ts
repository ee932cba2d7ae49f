/** Every firmware we boot: one file per family, one line here. */

import type { FirmwareName } from "#protocol/firmware.ts";
import type { FirmwareFamily } from "../reply.ts";
import { biosPxe } from "./bios-pxe.ts";
import { ipxe } from "./ipxe.ts";
import { raspberryPi } from "./raspberry-pi.ts";
import { uefiHttp } from "./uefi-http.ts";
import { uefiPxe } from "./uefi-pxe.ts";

export const firmwareFamilies: readonly FirmwareFamily[] = [
  raspberryPi,
  biosPxe,
  uefiPxe,
  uefiHttp,
  ipxe,
];

export function familyOf(firmware: FirmwareName): FirmwareFamily | undefined {
  return firmwareFamilies.find((family) => family.firmware.includes(firmware));
}
