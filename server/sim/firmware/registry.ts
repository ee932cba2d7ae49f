/** Every firmware that can be simulated, in the order of the help. */

import { bios } from "./bios.ts";
import { edk2, edk2Arm64 } from "./edk2.ts";
import type { Firmware } from "./firmware.ts";
import { ipxe, ipxeX64 } from "./ipxe.ts";
import { pi3 } from "./pi3.ts";
import { pi4, pi5 } from "./pi4.ts";

export const firmwares: readonly Firmware[] = [pi3, pi4, pi5, edk2, edk2Arm64, ipxe, ipxeX64, bios];

export function firmwareNamed(name: string): Firmware | undefined {
  return firmwares.find((one) => one.name === name);
}
