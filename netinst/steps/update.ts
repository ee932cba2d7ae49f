/**
 * Update: writes the root slot that does not run, takes over what is kept from the one that does,
 * and has the new one tried once. The running system, its boot entry and the data partition are
 * not written; until the last sector the node boots what it booted before.
 */

import { otherSlot, type RootSlot } from "#protocol/root-slots.ts";
import type { TargetDisk } from "../disk.ts";
import { InstallRefusedError } from "../errors.ts";
import { headOctets, parsePartitionTable, partitionTypes } from "../partition-table.ts";
import { readText } from "../settings.ts";
import { openVolumes, playVolumes, type Volumes } from "../volumes.ts";
import { layoutFile, parseLayout, rootOfSlot, type Volume } from "./disk-layout.ts";
import type { RawInstall } from "./install-raw.ts";
import { copyKept, identityPaths } from "./kept-paths.ts";
import { readChoice, slotSwitches, writeChoice } from "./slot-switch.ts";
import { writeRoot } from "./write-root.ts";

export interface Update extends Omit<RawInstall, "configure"> {
  /** Absolute paths. */
  readonly keep: readonly string[];
  /** @param former - the root of the system that runs */
  readonly configure: (directory: string, slot: RootSlot, former: string) => readonly string[];
}

/** @throws AgentError; the node boots what it booted before then */
export async function updateSlot(update: Update, signal: AbortSignal): Promise<void> {
  const { disk, source, reporter, console, keep, playedDisk } = update;
  reporter.progress("preparing", 0);
  const volumes = playedDisk === undefined ? openVolumes(disk) : playVolumes(playedDisk);
  const layout = await readLayout(disk, volumes);
  if (source.manifest.bootloader !== layout.bootloader) {
    throw new InstallRefusedError(
      `image ${source.manifest.name} boots by ${source.manifest.bootloader}, this disk by ${layout.bootloader}`,
    );
  }
  const { active, tried } = await volumes.mount(
    layout.boot,
    async (fat) => readChoice(fat),
    "read",
  );
  // What an earlier attempt left: nothing half written may be tried.
  if (tried) await volumes.mount(layout.boot, async (fat) => writeChoice(fat, { active }));
  await disk.flush();
  const slot = otherSlot(active);
  const former = rootOfSlot(layout, active);
  console.info(`slot ${active} runs, writing slot ${slot}`);
  signal.throwIfAborted();
  reporter.progress("writing", 0);
  const { fill } = slotSwitches[layout.bootloader];
  const root = rootOfSlot(layout, slot);
  const makeOurs = async (tree: string) => {
    await volumes.mount(
      former,
      async (old) => {
        update.configure(tree, slot, old);
        const paths = [...(await identityPaths(old)), ...keep];
        for (const { path, count } of await copyKept(old, tree, paths, signal)) {
          console.info(
            count === undefined ? `${path} is not there` : `kept ${path}: ${count} files`,
          );
        }
      },
      "read",
    );
    if (fill) await volumes.mount(layout.boot, async (fat) => fill(fat, tree, root, slot));
  };
  await writeRoot({ ...update, volumes }, layout, root, makeOurs, signal);
  signal.throwIfAborted();
  reporter.progress("committing", 0);
  await volumes.mount(layout.boot, async (fat) => writeChoice(fat, { active, tried: slot }));
  await disk.flush();
  reporter.progress("committing", 100);
}

const bootTypes: ReadonlySet<string> = new Set([partitionTypes.efiSystem, "0c"]);

/** @throws InstallRefusedError when the disk has no two root slots */
async function readLayout(disk: TargetDisk, volumes: Volumes) {
  const head = Buffer.from(await disk.read(0, headOctets));
  const found = parsePartitionTable(head)?.partitions.find(({ type }) => bootTypes.has(type));
  if (!found) throw new InstallRefusedError("the disk has no boot partition");
  const boot: Volume = { ...found, name: "boot", id: "" };
  const text = await volumes.mount(boot, async (fat) => readText(`${fat}/${layoutFile}`), "read");
  if (text === undefined) {
    throw new InstallRefusedError(
      `the disk has no two root slots: its first FAT partition has no ${layoutFile}`,
    );
  }
  return parseLayout(text, head);
}
