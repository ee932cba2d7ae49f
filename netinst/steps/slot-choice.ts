/**
 * Which of two root slots boots, on the boot partition. Each change of it is one sector, so that a
 * power cut leaves the one state or the other.
 */

import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import type { RootSlot } from "#protocol/root-slots.ts";
import { DiskError } from "../errors.ts";
import type { RootVolume } from "./disk-layout.ts";

export interface SlotChoice {
  /** Boots by itself. */
  readonly active: RootSlot;
  /** Boots the next time, and only then; where the boot partition can say so. */
  readonly tried?: RootSlot;
}

/** How a boot loader is told. `directory` is the boot partition. */
export interface SlotSwitch {
  /** @throws InstallRefusedError when it names no slot; Error when it cannot be read */
  read(directory: string): SlotChoice;
  /** On the medium when it returns. */
  write(directory: string, choice: SlotChoice): void;
  /**
   * Puts what a slot needs there besides its root before it can boot; what boots now is not touched.
   *
   * @throws InstallRefusedError
   */
  fill?(directory: string, tree: string, root: RootVolume, slot: RootSlot): void;
}

/** Overwrites a file of one sector where it lies. @throws DiskError */
export function overwriteSector(path: string, sector: Buffer): void {
  const file = openSync(path, "r+");
  try {
    if (writeSync(file, sector, 0, sector.length, 0) !== sector.length) {
      throw new DiskError(`${path} could not be written`);
    }
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
