/** The boot loaders that know two root slots; which one it is, the boot partition's layout tells. */

import { join } from "node:path";
import { InstallRefusedError } from "../errors.ts";
import { readText } from "../settings.ts";
import { type Bootloader, layoutFile } from "./disk-layout.ts";
import { grubSwitch } from "./grub-switch.ts";
import { piSwitch } from "./pi-switch.ts";
import type { SlotChoice, SlotSwitch } from "./slot-choice.ts";

export const slotSwitches: Readonly<Record<Bootloader, SlotSwitch>> = {
  grub: grubSwitch,
  "raspberry-pi": piSwitch,
};

/** @param directory - the boot partition @throws InstallRefusedError */
export function readChoice(directory: string): SlotChoice {
  const loader = switchOf(directory);
  try {
    return loader.read(directory);
  } catch (cause) {
    if (cause instanceof InstallRefusedError) throw cause;
    throw new InstallRefusedError(`${directory} does not tell which root slot boots`, { cause });
  }
}

/** On the medium when it returns: one sector. @throws InstallRefusedError, DiskError */
export function writeChoice(directory: string, choice: SlotChoice): void {
  switchOf(directory).write(directory, choice);
}

function switchOf(directory: string): SlotSwitch {
  const text = readText(join(directory, layoutFile));
  const told = text === undefined ? undefined : (JSON.parse(text) as { bootloader?: unknown });
  const bootloader = (["grub", "raspberry-pi"] as const).find((one) => one === told?.bootloader);
  if (bootloader) return slotSwitches[bootloader];
  throw new InstallRefusedError(`${directory} has no ${layoutFile}: no two root slots`);
}
