/**
 * Installs a root file system: partitions, file systems, the tree, a boot loader.
 *
 * The partition table exists only in RAM until the commit: until then file systems are reached by
 * their offset.
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Architecture } from "#protocol/firmware.ts";
import type { ImageManifest } from "#protocol/image.ts";
import type { InstalledSlots } from "#protocol/node.ts";
import { bootOctets, treeRootBytes } from "#protocol/root-slots.ts";
import { commit, makeUnbootable } from "../disk.ts";
import { InstallRefusedError } from "../errors.ts";
import { openVolumes, playVolumes } from "../volumes.ts";
import { embedGrub, grubFile, switchLabel, writeEfiLoader } from "./bootloader.ts";
import { layOut, layoutFile, layoutText, type NewLayout } from "./disk-layout.ts";
import { placeGrubSwitch } from "./grub-switch.ts";
import type { RawInstall } from "./install-raw.ts";
import { writePiBoot } from "./pi-switch.ts";
import { type RootWriting, writeRoot } from "./write-root.ts";

/** Least disk for a tree. */
export function treeDiskBytes(manifest: Pick<ImageManifest, "sizeBytes" | "bootloader">): number {
  const { bootloader } = manifest;
  return (
    treeRootBytes(manifest) + bootOctets[bootloader === "none" ? "grub" : bootloader] + (16 << 20)
  );
}

export interface InstalledTree {
  /** `SHA256:…` of each. */
  readonly sshHostKeys: readonly string[];
  /** Absent: there was room for one root. */
  readonly slots?: InstalledSlots;
}

/** @throws AgentError; the disk is unbootable then */
export async function installTar(install: RawInstall, signal: AbortSignal): Promise<InstalledTree> {
  const { disk, source, reporter, console, playedDisk } = install;
  const { manifest } = source;
  reporter.progress("preparing", 0);
  if (manifest.bootloader === "none") {
    throw new InstallRefusedError(
      `image ${manifest.name} is a root file system without a boot loader: it could not boot`,
    );
  }
  const layout = layOut(disk.sizeBytes, manifest);
  const volumes = playedDisk === undefined ? openVolumes(disk) : playVolumes(playedDisk);
  if (volumes.areReal && layout.bootloader === "grub") addGrub(layout, manifest.architecture);
  reporter.progress("writing", 0); // from here on the old system is gone
  await makeUnbootable(disk);
  signal.throwIfAborted();
  const sshHostKeys = await build({ ...install, volumes }, layout, install.configure, signal);
  signal.throwIfAborted();
  reporter.progress("committing", 0);
  const { id, partitionUuid } = layout.root;
  console.info(`root file system ${id}, partition ${partitionUuid}`);
  await commit(disk, layout.table.head, layout.table.backup);
  reporter.progress("committing", 100);
  const { root, second, data, bootloader } = layout;
  if (!second || !data) return { sshHostKeys };
  const slots = { active: "a", rootBytes: root.length, data: data.path, bootloader } as const;
  if (bootloader === "grub") return { sshHostKeys, slots };
  const roots = { a: root.partitionUuid, b: second.partitionUuid };
  return { sshHostKeys, slots: { ...slots, roots } };
}

function addGrub({ table }: NewLayout, architecture: Architecture): void {
  if (architecture === "amd64") embedGrub(table.head, grubFile("boot.img"), grubFile("core.img"));
  else grubFile("bootaa64.efi"); // missing: said before anything is wiped
}

async function build(
  writing: RootWriting,
  layout: NewLayout,
  configure: RawInstall["configure"],
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { volumes, source } = writing;
  const { boot, root, second, data, bootloader } = layout;
  const fillBoot = async (fat: string, tree: string) => {
    if (bootloader === "raspberry-pi") writePiBoot(fat, tree, root, second && "a");
    else if (volumes.areReal) writeEfiLoader(fat, source.manifest.architecture);
    if (!second) return;
    if (bootloader === "grub") placeGrubSwitch(fat, { a: root.id, b: second.id });
    writeFileSync(join(fat, layoutFile), layoutText(layout), { flush: true });
  };
  const makeOurs = async (tree: string) => {
    const fingerprints = configure(tree, second && "a");
    await volumes.makeFat(boot, second && bootloader === "grub" ? switchLabel : "BOOT");
    await volumes.mount(boot, (fat) => fillBoot(fat, tree));
    return fingerprints;
  };
  if (data) await volumes.makeExt4(data, data.name);
  return await writeRoot(writing, layout, root, makeOurs, signal);
}
