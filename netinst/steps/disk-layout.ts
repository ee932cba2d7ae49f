/**
 * How a disk is laid out that gets a root file system, and the same read back from its boot partition.
 *
 *   grub, amd64    GPT: BIOS boot (in the first MiB) | EFI system 64 MiB | roots | data
 *   grub, arm64    GPT: EFI system 64 MiB | roots | data
 *   raspberry-pi   MBR: FAT32 256 MiB | roots | data
 *
 * One root to the end of the disk, or two root slots of a fixed size and a data partition.
 */

import { randomBytes, randomUUID } from "node:crypto";
import type { ImageManifest } from "#protocol/image.ts";
import type { InstalledSlots } from "#protocol/node.ts";
import { bootOctets, hasRoomForSlots, type RootSlot, rootSlots } from "#protocol/root-slots.ts";
import { InstallRefusedError } from "../errors.ts";
import {
  type GrownTable,
  makeGpt,
  makeMbr,
  parsePartitionTable,
  partitionTypes,
  sectorOctets,
  type WantedPartition,
} from "../partition-table.ts";

export type Bootloader = InstalledSlots["bootloader"];

/** A part of the disk, and what its file system is called there. */
export interface Volume {
  readonly name: "boot" | "root" | "root-a" | "root-b" | "data";
  /** Octets. */
  readonly offset: number;
  readonly length: number;
  /** Of the file system; of a FAT eight hexadecimal digits. */
  readonly id: string;
}

export interface RootVolume extends Volume {
  /** As the kernel knows the partition without an initrd. */
  readonly partitionUuid: string;
}

export interface Layout {
  readonly bootloader: Bootloader;
  readonly boot: Volume;
  /** The only root, or slot a. */
  readonly root: RootVolume;
  readonly second?: RootVolume;
  readonly data?: Volume & { readonly path: string };
}

export interface NewLayout extends Layout {
  readonly table: GrownTable;
}

const mebibyte = 1 << 20;
/** First sector of GRUB's core: after the GPT's entries, in the gap before 1 MiB. */
export const coreSector = 40;

type Tree = Pick<ImageManifest, "architecture" | "bootloader" | "slots" | "sizeBytes">;

/**
 * The table, and where everything lies. Pure but for the random identifiers.
 *
 * @throws InstallRefusedError when the disk has no room for a root partition
 */
export function layOut(diskOctets: number, tree: Tree): NewLayout {
  const { bootloader } = tree;
  if (bootloader === "none") throw new InstallRefusedError("a disk without a boot loader");
  const parts = partsOf(diskOctets, tree, bootloader);
  const diskId = randomBytes(4).readUInt32LE();
  const table =
    bootloader === "grub"
      ? makeGpt(
          diskOctets,
          parts.map(({ wanted }) => wanted),
        )
      : makeMbr(
          diskOctets,
          diskId,
          parts.map(({ wanted }) => wanted),
        );
  const partitions = parsePartitionTable(table.head)?.partitions ?? [];
  const volumes = new Map<Volume["name"], RootVolume>();
  for (const [index, { name, wanted }] of parts.entries()) {
    const found = partitions.find((one) => one.number === index + 1);
    if (!found || (name !== undefined && found.length < mebibyte)) {
      throw new InstallRefusedError(`the disk has no room for the partition ${wanted.name}`);
    }
    if (name === undefined) continue;
    const id = name === "boot" ? randomBytes(4).toString("hex") : randomUUID();
    const { offset, length, uuid } = found;
    volumes.set(name, { name, offset, length, id, partitionUuid: uuid });
  }
  const volume = (name: Volume["name"]): RootVolume => {
    const found = volumes.get(name);
    if (!found) throw new InstallRefusedError(`the disk has no room for the partition ${name}`);
    return found;
  };
  const boot = volume("boot");
  if (!volumes.has("data")) return { table, bootloader, boot, root: volume("root") };
  return {
    ...{ table, bootloader, boot },
    ...{ root: volume("root-a"), second: volume("root-b") },
    data: { ...volume("data"), path: tree.slots?.data ?? "/srv" },
  };
}

interface Part {
  /** Undefined: it has no file system. */
  readonly name?: Volume["name"];
  readonly wanted: WantedPartition;
}

function partsOf(diskOctets: number, tree: Tree, bootloader: Bootloader): readonly Part[] {
  const isGpt = bootloader === "grub";
  const linux = isGpt ? partitionTypes.linux : "83";
  const bios: Part = {
    wanted: {
      type: partitionTypes.biosBoot,
      name: "BIOS boot",
      offset: coreSector * sectorOctets,
      length: mebibyte - coreSector * sectorOctets,
    },
  };
  const length = bootOctets[bootloader];
  const boot: Part = {
    name: "boot",
    wanted: isGpt
      ? { type: partitionTypes.efiSystem, name: "EFI system", offset: mebibyte, length }
      : { type: "0c", name: "boot", offset: mebibyte, length },
  };
  const before = [...(isGpt && tree.architecture === "amd64" ? [bios] : []), boot];
  const begin = mebibyte + length;
  if (!hasRoomForSlots(tree, diskOctets) || !tree.slots) {
    return [...before, { name: "root", wanted: { type: linux, name: "root", offset: begin } }];
  }
  const root = tree.slots.rootMiB * mebibyte;
  return [
    ...before,
    ...rootSlots.map((slot, index): Part => {
      const name = nameOfSlot(slot);
      return { name, wanted: { type: linux, name, offset: begin + index * root, length: root } };
    }),
    { name: "data", wanted: { type: linux, name: "data", offset: begin + 2 * root } },
  ];
}

function nameOfSlot(slot: RootSlot): "root-a" | "root-b" {
  return `root-${slot}`;
}

/** The root of a slot. @throws InstallRefusedError where there is one root only */
export function rootOfSlot({ root, second }: Layout, slot: RootSlot): RootVolume {
  if (!second) throw new InstallRefusedError("this disk has one root file system");
  return slot === "a" ? root : second;
}

/** On the boot partition: what an update must know and the partition table does not tell. */
export const layoutFile = "marcoboot-layout.json";

export function layoutText({ bootloader, boot, root, second, data }: Layout): string {
  return `${JSON.stringify({ version: 1, bootloader, boot, root, second, data })}\n`;
}

/**
 * @param head - the disk's first MiB: each partition must still lie where the file says
 * @throws InstallRefusedError when it is no layout of two root slots, or not of this disk
 */
export function parseLayout(
  text: string,
  head: Buffer,
): Layout & Required<Pick<Layout, "second" | "data">> {
  const value = JSON.parse(text) as Partial<Layout> & { readonly version?: number };
  const { bootloader, boot, root, second, data } = value;
  const isKnown = value.version === 1 && (bootloader === "grub" || bootloader === "raspberry-pi");
  if (!isKnown || !boot || !root || !second || !data) {
    throw new InstallRefusedError(`${layoutFile} of the boot partition tells no two root slots`);
  }
  const partitions = parsePartitionTable(head)?.partitions ?? [];
  for (const { name, offset, length } of [boot, root, second, data]) {
    if (partitions.some((one) => one.offset === offset && one.length === length)) continue;
    throw new InstallRefusedError(
      `the partition ${name} is not where ${layoutFile} says: somebody changed the partition table`,
    );
  }
  return { bootloader, boot, root, second, data };
}
