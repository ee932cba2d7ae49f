/**
 * GRUB's choice among root slots: one that stays, and one that is tried once, in GRUB's environment
 * block on the boot partition.
 */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { RootSlot } from "#protocol/root-slots.ts";
import { rootSlots } from "#protocol/root-slots.ts";
import { InstallRefusedError } from "../errors.ts";
import { sectorOctets } from "../partition-table.ts";
import { overwriteSector, type SlotChoice, type SlotSwitch } from "./slot-choice.ts";

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

export const grubSwitch: SlotSwitch = {
  read: (directory) => parseEnvironment(readFileSync(join(directory, environmentFile))),
  write: (directory, choice) =>
    overwriteSector(join(directory, environmentFile), environmentBlock(choice)),
};

/** On a boot partition that was just made. */
export function placeGrubSwitch(
  directory: string,
  roots: Readonly<Record<RootSlot, string>>,
): void {
  const path = join(directory, environmentFile);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, environmentBlock({ active: "a" }), { flush: true });
  writeFileSync(join(dirname(path), "grub.cfg"), slotConfiguration(roots), { flush: true });
}
