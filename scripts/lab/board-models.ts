/** Boards that a simulated rack can be made of: whose firmware they have, and what they do when nothing boots. */

import type { Architecture } from "#protocol/firmware.ts";
import { bios } from "../../server/sim/firmware/bios.ts";
import { edk2 } from "../../server/sim/firmware/edk2.ts";
import type { Firmware } from "../../server/sim/firmware/firmware.ts";
import { ipxe, ipxeX64 } from "../../server/sim/firmware/ipxe.ts";
import { pi3 } from "../../server/sim/firmware/pi3.ts";
import { pi4, pi5, serialOf } from "../../server/sim/firmware/pi4.ts";

export const modelNames = ["pi3", "pi4", "pi5", "bios", "edk2"] as const;
export type ModelName = (typeof modelNames)[number];

export interface BoardModel {
  /** As the device tree or DMI has it. */
  readonly says: string;
  readonly architecture: Architecture;
  /** First three octets of its hardware addresses. */
  readonly prefix: string;
  /** One after the other: a ROM, then the loader it fetched. */
  readonly firmware: readonly Firmware[];
  /** What the device tree says, 16 digits: it must agree with what the firmware sends. */
  readonly serial: (board: { readonly index: number; readonly mac: string }) => string;
  /** After network and disk have failed: again from the start, or dark until the next power-on. */
  readonly whenNothingBoots: "again" | "dark";
}

const eepromSerial: BoardModel["serial"] = ({ index }) =>
  `10000000${serialOf({ settings: { index } }).toString(16).padStart(8, "0")}`;

export const boardModels: Readonly<Record<ModelName, BoardModel>> = {
  pi3: {
    says: "Raspberry Pi 3 Model B Plus Rev 1.3",
    architecture: "arm64",
    prefix: "b8:27:eb",
    firmware: [pi3],
    serial: ({ mac }) => mac.replaceAll(":", "").slice(6).padStart(16, "0"),
    whenNothingBoots: "dark",
  },
  pi4: {
    says: "Raspberry Pi 4 Model B Rev 1.5",
    architecture: "arm64",
    prefix: "dc:a6:32",
    firmware: [pi4],
    serial: eepromSerial,
    whenNothingBoots: "again",
  },
  pi5: {
    says: "Raspberry Pi 5 Model B Rev 1.0",
    architecture: "arm64",
    prefix: "2c:cf:67",
    firmware: [pi5],
    serial: eepromSerial,
    whenNothingBoots: "again",
  },
  bios: {
    says: "PC with BIOS (simulated)",
    architecture: "amd64",
    prefix: "52:54:00",
    firmware: [bios, ipxe],
    serial: ({ mac }) => mac.replaceAll(":", "").padStart(16, "0"),
    whenNothingBoots: "dark",
  },
  edk2: {
    says: "PC with UEFI (simulated)",
    architecture: "amd64",
    prefix: "52:54:01",
    firmware: [edk2, ipxeX64],
    serial: ({ mac }) => mac.replaceAll(":", "").padStart(16, "0"),
    whenNothingBoots: "dark",
  },
};
