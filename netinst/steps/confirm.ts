/**
 * Confirm: the system that runs is the one that boots from now on. Done by that system itself, on
 * the boot partition it was started from; doing it again changes nothing.
 */

import { readFileSync } from "node:fs";
import { AgentError } from "../errors.ts";
import type { Settings } from "../settings.ts";
import { runTool } from "../tools.ts";
import { endTrial, readSystem } from "./installed-system.ts";
import { readChoice, writeChoice } from "./slot-switch.ts";
import { bootMounts } from "./write-root.ts";

/** @throws AgentError when this system is in no root slot, or its boot partition cannot be written */
export async function confirmSystem(
  settings: Pick<Settings, "identityDirectory" | "simulate" | "diskFile">,
): Promise<void> {
  const { identityDirectory, simulate, diskFile } = settings;
  const slot = readSystem(identityDirectory)?.slot;
  if (slot === undefined) throw new AgentError("this system does not know its root slot");
  const boot = simulate ? `${diskFile}.boot` : await mountedBoot();
  const { active, tried } = readChoice(boot);
  if (active !== slot || tried) writeChoice(boot, { active: slot });
  endTrial(identityDirectory);
}

/** The boot partition, mounted as /etc/fstab says if it is not. */
async function mountedBoot(): Promise<string> {
  const lines = (path: string) => readFileSync(path, "utf8").split("\n");
  const placeOf = (line: string) => line.trim().split(/\s+/)[1] ?? "";
  const where = lines("/etc/fstab")
    .map(placeOf)
    .find((place) => bootMounts.includes(place));
  if (where === undefined) throw new AgentError("/etc/fstab names no boot partition");
  if (!lines("/proc/mounts").map(placeOf).includes(where)) await runTool("mount", [where]);
  return where;
}
