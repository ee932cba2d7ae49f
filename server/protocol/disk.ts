/** Which disk is meant, and whether it may be written: asked by the server when it plans, and by the agent before it writes. */

import type { Disk, InstalledDisk } from "./node.ts";

/** What an agent must leave alone, whatever it finds in the machine. */
export interface DiskGuard {
  /** Serial numbers of disks that nobody may write. */
  readonly protectedSerials: readonly string[];
  /** Present: only a blank disk, or one that still holds one of these installs, may be written. */
  readonly onlyOver?: readonly InstalledDisk[];
}

/**
 * The disk named by kernel name, `/dev/…` or serial number; without a name the only fixed one.
 *
 * @returns why there is none, in words, instead of a disk
 */
export function targetDisk(disks: readonly Disk[], wanted: string | undefined): Disk | string {
  return wanted === undefined ? onlyFixedDisk(disks) : namedDisk(disks, wanted);
}

function onlyFixedDisk(disks: readonly Disk[]): Disk | string {
  const fixed = disks.filter((disk) => !disk.removable);
  const [first, ...others] = fixed;
  if (first === undefined) return `no fixed disk found; there is: ${listOf(disks)}`;
  return others.length > 0 ? `more than one fixed disk, name one: ${listOf(fixed)}` : first;
}

function namedDisk(disks: readonly Disk[], wanted: string): Disk | string {
  const name = wanted.replace(/^\/dev\//, "");
  const found =
    disks.find((disk) => disk.name === name) ?? disks.find((disk) => disk.serial === wanted);
  return found ?? `no disk ${JSON.stringify(wanted)}; there is: ${listOf(disks)}`;
}

function listOf(disks: readonly Disk[]): string {
  const texts = disks.map(
    (disk) => `${disk.name} (${disk.sizeBytes} bytes${disk.removable ? ", removable" : ""})`,
  );
  return texts.length === 0 ? "none" : texts.join(", ");
}

/** Why the disk must not be written; undefined: it may. */
export function whyGuarded(disk: Disk, guard: DiskGuard): string | undefined {
  const name = disk.serial === undefined ? disk.name : `${disk.name} (${disk.serial})`;
  if (disk.serial !== undefined && guard.protectedSerials.includes(disk.serial)) {
    return `disk ${name} is protected`;
  }
  if (guard.onlyOver === undefined || disk.contents?.kind === "blank") return undefined;
  if (disk.contents === undefined) return `what is on disk ${name} is not known`;
  if (guard.onlyOver.some((one) => isStillOn(disk, one))) return undefined;
  return `disk ${name} holds ${disk.contents.text}, which was not installed from here`;
}

/** The same disk, with the same partition table as at the end of that install. */
function isStillOn(disk: Disk, installed: InstalledDisk): boolean {
  const { contentsId } = installed;
  if (contentsId === undefined || contentsId !== disk.contents?.id) return false;
  // A kernel name tells disks apart within one machine only: see `ownDisks` of the server.
  return installed.serial === undefined
    ? disk.serial === undefined && installed.name === disk.name
    : installed.serial === disk.serial;
}
