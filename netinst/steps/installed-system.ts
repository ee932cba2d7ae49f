/** What an installed system is told about itself: where it comes from, and whether it is on trial. */

import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseImageDigest, type TaskId } from "#protocol/brand.ts";
import type { InstalledSystem } from "#protocol/node.ts";
import { rootSlots } from "#protocol/root-slots.ts";
import { readText } from "../settings.ts";

/** Beside the node's identity. */
const systemFile = "system.json";
/** In the directory above: as long as it is there, the system restarts after the seconds in it. */
export const trialFile = "trial";

export function systemText(system: InstalledSystem): string {
  return `${JSON.stringify(system)}\n`;
}

export function systemPath(identityDirectory: string): string {
  return join(identityDirectory, systemFile);
}

/** Undefined where there is none, or none that can be read. */
export function readSystem(identityDirectory: string): InstalledSystem | undefined {
  const text = readText(systemPath(identityDirectory));
  if (text === undefined) return undefined;
  try {
    const { image, madeBy, slot } = JSON.parse(text) as Record<string, unknown>;
    const known = rootSlots.find((one) => one === slot);
    if (typeof image !== "string" || typeof madeBy !== "string") return undefined;
    return {
      image: parseImageDigest(image),
      madeBy: madeBy as TaskId,
      ...(known && { slot: known }),
    };
  } catch {
    return undefined; // damaged: the server knows what it knows
  }
}

/** Nothing restarts the system by itself any more. */
export function endTrial(identityDirectory: string): void {
  rmSync(join(dirname(identityDirectory), trialFile), { force: true });
}
