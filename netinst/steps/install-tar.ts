/**
 * Installs a root file system: partitions, file systems, the tree, a boot loader.
 *
 *   grub, amd64    GPT: BIOS boot (in the first MiB) | EFI system 64 MiB | root to the end
 *   grub, arm64    GPT: EFI system 64 MiB | root to the end
 *   raspberry-pi   MBR: FAT32 256 MiB | root to the end
 *
 * The partition table exists only in RAM until the commit: until then file systems are reached by
 * their offset.
 */

import { randomBytes, randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import type { Architecture } from "#protocol/firmware.ts";
import type { ImageManifest } from "#protocol/image.ts";
import { commit, makeUnbootable, type TargetDisk } from "../disk.ts";
import { InstallRefusedError } from "../errors.ts";
import { streamImage } from "../image-stream.ts";
import { withLoop, withMount } from "../loop.ts";
import {
  type GrownTable,
  makeGpt,
  makeMbr,
  type Partition,
  parsePartitionTable,
  partitionTypes,
  sectorOctets,
  type WantedPartition,
} from "../partition-table.ts";
import { openRootTree } from "../root-tree.ts";
import { runTool } from "../tools.ts";
import {
  coreSector,
  embedGrub,
  grubFile,
  type RootIdentity,
  rootLabel,
  writeEfiLoader,
  writeGrubConfiguration,
  writePiBoot,
} from "./bootloader.ts";
import type { RawInstall } from "./install-raw.ts";
import { meter } from "./meter.ts";
import { openTreeUnpacker } from "./unpack-tree.ts";

const mebibyte = 1 << 20;
const efiOctets = 64 * mebibyte;
const piBootOctets = 256 * mebibyte;

/** Least disk for a tree: its bytes and a fifth for ext4's own tables and the agent, boot partition, 160 MiB. */
export function treeDiskBytes(manifest: Pick<ImageManifest, "sizeBytes" | "bootloader">): number {
  const boot = manifest.bootloader === "raspberry-pi" ? piBootOctets : efiOctets;
  return Math.ceil(manifest.sizeBytes * 1.2) + boot + 160 * mebibyte;
}

interface Layout {
  readonly table: GrownTable;
  readonly boot: Partition;
  /** FAT volume id, eight hexadecimal digits. */
  readonly bootId: string;
  readonly root: Partition;
  readonly identity: RootIdentity;
}

/** @returns fingerprints of the SSH host keys. @throws AgentError; the disk is unbootable then */
export async function installTar(
  install: RawInstall,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { disk, source, reporter, console } = install;
  const { manifest } = source;
  reporter.progress("preparing", 0);
  if (manifest.bootloader === "none") {
    throw new InstallRefusedError(
      `image ${manifest.name} is a root file system without a boot loader: it could not boot`,
    );
  }
  const layout = layOut(disk.sizeBytes, manifest.architecture, manifest.bootloader);
  if (manifest.bootloader === "grub" && install.playedRoot === undefined)
    addGrub(layout, manifest.architecture);
  reporter.progress("writing", 0); // from here on the old system is gone
  await makeUnbootable(disk);
  signal.throwIfAborted();
  const fingerprints =
    install.playedRoot === undefined
      ? await buildTree(install, layout, signal)
      : await onlyStream(install, install.playedRoot, signal);
  signal.throwIfAborted();
  reporter.progress("committing", 0);
  console.info(
    `root file system ${layout.identity.fileSystemUuid}, partition ${layout.identity.partitionUuid}`,
  );
  await commit(disk, layout.table.head, layout.table.backup);
  reporter.progress("committing", 100);
  return fingerprints;
}

/** The table, and where boot and root partition lie. Pure but for the random identifiers. */
export function layOut(
  diskOctets: number,
  architecture: Architecture,
  bootloader: "grub" | "raspberry-pi",
): Layout {
  const identity = { fileSystemUuid: randomUUID(), partitionUuid: randomUUID() };
  const bootId = randomBytes(4).toString("hex");
  if (bootloader === "raspberry-pi") {
    const diskId = randomBytes(4).readUInt32LE();
    const table = makeMbr(diskOctets, diskId, [
      { type: "0c", name: "boot", offset: mebibyte, length: piBootOctets },
      { type: "83", name: "root", offset: mebibyte + piBootOctets },
    ]);
    const partitionUuid = `${diskId.toString(16).padStart(8, "0")}-02`;
    return { table, bootId, ...partsOf(table, 1, 2), identity: { ...identity, partitionUuid } };
  }
  const bios: WantedPartition = {
    type: partitionTypes.biosBoot,
    name: "BIOS boot",
    offset: coreSector * sectorOctets,
    length: mebibyte - coreSector * sectorOctets,
  };
  const wanted: WantedPartition[] = [
    ...(architecture === "amd64" ? [bios] : []),
    { type: partitionTypes.efiSystem, name: "EFI system", offset: mebibyte, length: efiOctets },
    {
      type: partitionTypes.linux,
      name: "root",
      offset: mebibyte + efiOctets,
      guid: identity.partitionUuid,
    },
  ];
  const table = makeGpt(diskOctets, wanted);
  return { table, bootId, ...partsOf(table, wanted.length - 1, wanted.length), identity };
}

function partsOf(
  table: GrownTable,
  boot: number,
  root: number,
): { boot: Partition; root: Partition } {
  const parts = parsePartitionTable(table.head)?.partitions ?? [];
  const bootPart = parts.find((one) => one.number === boot);
  const rootPart = parts.find((one) => one.number === root);
  if (bootPart === undefined || rootPart === undefined) {
    throw new InstallRefusedError("the disk has no room for a root partition");
  }
  return { boot: bootPart, root: rootPart };
}

function addGrub(layout: Layout, architecture: Architecture): void {
  if (architecture === "amd64")
    embedGrub(layout.table.head, grubFile("boot.img"), grubFile("core.img"));
  else grubFile("bootaa64.efi"); // missing: said before anything is wiped
}

async function buildTree(
  install: RawInstall,
  layout: Layout,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { disk, source, reporter } = install;
  const { architecture, bootloader } = source.manifest;
  const { boot, root, identity } = layout;
  const fingerprints = await withLoop(disk.path, root.offset, async (device) => {
    await runTool("mke2fs", [
      ...["-q", "-F", "-t", "ext4", "-m", "1", "-E", "nodiscard"],
      ...["-L", rootLabel, "-U", identity.fileSystemUuid],
      ...[device, `${Math.floor(root.length / 1024)}k`],
    ]);
    await withMount(device, "ext4", (directory) => unpack(install, directory, signal));
    reporter.progress("verifying", 0);
    await disk.dropCaches();
    await runTool("e2fsck", ["-fn", device]);
    signal.throwIfAborted();
    reporter.progress("configuring", 0);
    const result = await withMount(device, "ext4", async (directory) => {
      writeFstab(directory, layout, bootloader);
      const made = install.configure(directory);
      if (bootloader === "grub") writeGrubConfiguration(directory, identity, architecture);
      await fillBoot(
        disk,
        layout,
        (fat) => {
          if (bootloader === "grub") writeEfiLoader(fat, architecture);
          else writePiBoot(fat, directory, identity);
        },
        boot,
      );
      return made;
    });
    await runTool("e2fsck", ["-fn", device]);
    return result;
  });
  await disk.flush();
  return fingerprints;
}

async function fillBoot(
  disk: TargetDisk,
  layout: Layout,
  fill: (directory: string) => void,
  boot: Partition,
): Promise<void> {
  await withLoop(disk.path, boot.offset, async (device) => {
    await runTool("mkfs.vfat", [
      ...["-F", "32", "-s", "1", "-n", "BOOT", "-i", layout.bootId],
      ...[device, String(boot.length / 1024)],
    ]);
    await withMount(device, "vfat", async (directory) => fill(directory));
  });
}

function writeFstab(directory: string, layout: Layout, bootloader: string): void {
  const tree = openRootTree(directory);
  const where = bootloader === "raspberry-pi" ? "/boot/firmware" : "/boot/efi";
  mkdirSync(tree.locate(`${where}/x`).slice(0, -2), { recursive: true });
  const fatId = `${layout.bootId.slice(0, 4)}-${layout.bootId.slice(4)}`.toUpperCase();
  tree.write(
    "/etc/fstab",
    [
      `UUID=${layout.identity.fileSystemUuid} / ext4 defaults,errors=remount-ro 0 1`,
      `UUID=${fatId} ${where} vfat defaults,umask=0077,nofail 0 2`,
      "",
    ].join("\n"),
  );
}

async function unpack(install: RawInstall, directory: string, signal: AbortSignal): Promise<void> {
  const { source, reporter, console } = install;
  const tick = meter("writing", source.manifest.sizeBytes, reporter);
  const unpacker = openTreeUnpacker(directory);
  await streamImage(
    source,
    async (chunk, position) => {
      await unpacker.write(chunk);
      tick(position + chunk.length);
    },
    signal,
  );
  const { skipped } = await unpacker.end();
  if (skipped > 0) console.info(`${skipped} devices and pipes of the archive were left out`);
}

/** A simulated node has no file systems: it proves that the image arrives, and becomes itself. */
async function onlyStream(
  install: RawInstall,
  playedRoot: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const tick = meter("writing", install.source.manifest.sizeBytes, install.reporter);
  await streamImage(
    install.source,
    async (chunk, position) => tick(position + chunk.length),
    signal,
  );
  return install.configure(playedRoot);
}
