/**
 * Which root slot boots, on the boot partition: one that stays, and one that is tried once.
 *
 * Each change of it is one sector, so that a power cut leaves the one state or the other.
 */

import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { RootSlot } from "#protocol/root-slots.ts";
import { rootSlots } from "#protocol/root-slots.ts";
import { DiskError, InstallRefusedError } from "../errors.ts";
import { sectorOctets } from "../partition-table.ts";

export interface SlotChoice {
  /** Boots by itself. */
  readonly active: RootSlot;
  /** Boots the next time, and only then. */
  readonly tried?: RootSlot;
}

/** GRUB's environment block, as `load_env` and `save_env` know it. */
export const environmentFile = "boot/grub/grubenv";
const signature = "# GRUB Environment Block\n";

/** One sector: GRUB takes a block of any size. */
export function environmentBlock({ active, tried = undefined }: SlotChoice): Buffer {
  const block = Buffer.alloc(sectorOctets, "#");
  block.write(`${signature}slot=${active}\ntry=${tried ?? ""}\n`, "latin1");
  return block;
}

/** @throws InstallRefusedError when it names no slot */
export function parseEnvironment(block: Uint8Array): SlotChoice {
  const text = Buffer.from(block).toString("latin1");
  const slotOf = (name: string): RootSlot | undefined => {
    const value = new RegExp(`^${name}=(.*)$`, "m").exec(text)?.[1];
    return rootSlots.find((slot) => slot === value);
  };
  const active = slotOf("slot");
  if (!text.startsWith(signature) || active === undefined) {
    throw new InstallRefusedError(`${environmentFile} of the boot partition names no root slot`);
  }
  const tried = slotOf("try");
  return { active, ...(tried && { tried }) };
}

/** What GRUB does first: it takes the slot that is to be tried out of the block before it boots it. */
export function slotConfiguration(roots: Readonly<Record<RootSlot, string>>): string {
  return [
    "# written by the marcoboot installer: which root slot boots",
    "set timeout=0",
    "load_env slot try",
    'if [ -n "$try" ]; then',
    '  set once="$try"',
    "  set try=",
    "  if save_env try; then",
    '    set slot="$once"',
    "  fi",
    "fi",
    'if [ "$slot" = "b" ]; then',
    `  search --no-floppy --fs-uuid ${roots.b} --set=root`,
    "else",
    `  search --no-floppy --fs-uuid ${roots.a} --set=root`,
    "fi",
    "configfile ($root)/boot/grub/grub.cfg",
    "",
  ].join("\n");
}

/** @param directory - the boot partition @throws InstallRefusedError */
export function readChoice(directory: string): SlotChoice {
  const path = join(directory, environmentFile);
  try {
    return parseEnvironment(readFileSync(path));
  } catch (cause) {
    if (cause instanceof InstallRefusedError) throw cause;
    throw new InstallRefusedError(`${path} cannot be read`, { cause });
  }
}

/** Overwrites the block where it lies; on the medium when it returns. */
export function writeChoice(directory: string, choice: SlotChoice): void {
  const path = join(directory, environmentFile);
  const block = environmentBlock(choice);
  const file = openSync(path, "r+");
  try {
    if (writeSync(file, block, 0, block.length, 0) !== block.length) {
      throw new DiskError(`${path} could not be written`);
    }
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** On a boot partition that was just made. */
export function placeSwitch(directory: string, roots: Readonly<Record<RootSlot, string>>): void {
  const path = join(directory, environmentFile);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, environmentBlock({ active: "a" }), { flush: true });
  writeFileSync(join(dirname(path), "grub.cfg"), slotConfiguration(roots), { flush: true });
}
