/**
 * A Raspberry Pi's choice among root slots: `os_prefix` in config.txt, which is one sector and names
 * the directory of the slot that boots.
 *
 *   /bootcode.bin start*.elf fixup*.dat   as the install left them
 *   /config.txt                           os_prefix=a/ or os_prefix=b/, and the image's statements
 *   /a/ /b/                               kernel8.img initrd.img cmdline.txt *.dtb overlays/
 *   /a/config.txt /b/config.txt           the statements of each, for when it is its turn
 *
 * It cannot try a slot once: the server does, which gives the board the slot's files by TFTP for one
 * boot (server/boot/trials.ts).
 */

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { RootSlot } from "#protocol/root-slots.ts";
import { rootSlots } from "#protocol/root-slots.ts";
import {
  type PiBoot,
  piCommandLine,
  prefixStatement,
  readPiBoot,
  slotConfig,
} from "../../images/pi-boot.ts";
import { InstallRefusedError } from "../errors.ts";
import { sectorOctets } from "../partition-table.ts";
import type { RootVolume } from "./disk-layout.ts";
import { overwriteSector, type SlotSwitch } from "./slot-choice.ts";

export const piSwitch: SlotSwitch = {
  read(directory) {
    const text = readFileSync(join(directory, configFile), "latin1");
    const active = rootSlots.find((slot) => text.split("\n").includes(prefixOf(slot)));
    if (active !== undefined) return { active };
    throw new InstallRefusedError(`${configFile} of the boot partition names no root slot`);
  },
  write(directory, { active }) {
    const path = join(directory, configFile);
    if (statSync(path).size !== sectorOctets) {
      throw new InstallRefusedError(`somebody changed ${configFile} of the boot partition`);
    }
    overwriteSector(path, readFileSync(join(directory, active, configFile)));
  },
  fill(directory, tree, root, slot) {
    fillSlot(directory, bootOf(tree), root, slot);
  },
};

const configFile = "config.txt";

function prefixOf(slot: RootSlot): string {
  return `${prefixStatement}${slot}/`;
}

/**
 * Fills a boot partition that was just made.
 *
 * @param slot - undefined: the disk has one root
 * @throws InstallRefusedError
 */
export function writePiBoot(
  directory: string,
  tree: string,
  root: RootVolume,
  slot: RootSlot | undefined,
): void {
  const boot = bootOf(tree);
  for (const [name, path] of boot.firmware) copyFileSync(path, join(directory, name));
  if (slot === undefined) {
    copySystem(directory, boot, root, slot);
    writeFileSync(join(directory, configFile), `${boot.settings.join("\n")}\n`);
    return;
  }
  fillSlot(directory, boot, root, slot);
  copyFileSync(join(directory, slot, configFile), join(directory, configFile));
}

function fillSlot(directory: string, boot: PiBoot, root: RootVolume, slot: RootSlot): void {
  const config = slotConfig(boot, slot);
  if (typeof config === "string") throw new InstallRefusedError(config);
  const own = join(directory, slot);
  rmSync(own, { recursive: true, force: true });
  mkdirSync(own);
  copySystem(own, boot, root, slot);
  writeFileSync(join(own, configFile), config);
}

function copySystem(
  directory: string,
  { system }: PiBoot,
  root: RootVolume,
  slot: RootSlot | undefined,
): void {
  for (const [name, path] of system) {
    const to = join(directory, name);
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(path, to);
  }
  const readme = join(directory, "overlays/README");
  if (existsSync(dirname(readme)) && !existsSync(readme)) writeFileSync(readme, "");
  writeFileSync(join(directory, "cmdline.txt"), `${piCommandLine(root.partitionUuid, slot)}\n`);
}

function bootOf(tree: string): PiBoot {
  const boot = readPiBoot(tree);
  if (typeof boot === "string") throw new InstallRefusedError(boot);
  return boot;
}
