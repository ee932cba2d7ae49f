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

import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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
import type { RootVolume } from "./disk-layout.ts";
import { overwriteSector, type SlotSwitch } from "./slot-choice.ts";

export const piSwitch: SlotSwitch = {
  read(directory) {
    const sector = readFileSync(join(directory, configFile));
    const lines = sector.toString("latin1").split("\n");
    const active = rootSlots.find((slot) => lines.includes(`${prefixStatement}${slot}/`));
    if (active === undefined) {
      throw new InstallRefusedError(`${configFile} of the boot partition names no root slot`);
    }
    // What is in place of it would be lost, and a file of two sectors is not replaced by one write.
    if (sector.equals(readFileSync(join(directory, active, configFile)))) return { active };
    throw new InstallRefusedError(
      `somebody changed ${configFile} of the boot partition: copy ${active}/${configFile} over it, and put the change into the image`,
    );
  },
  write(directory, { active }) {
    overwriteSector(join(directory, configFile), readFileSync(join(directory, active, configFile)));
  },
  fill(directory, tree, root, slot) {
    fillSlot(directory, bootOf(tree), root, slot);
  },
};

const configFile = "config.txt";

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
