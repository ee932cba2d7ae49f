/**
 * What is on a disk, found out without mounting anything: partition tables, and file systems by
 * their magic numbers. Nothing is ever written here.
 *
 * A disk counts as blank only when its first and last MiB hold nothing: every table and every
 * superblock this file knows has at least a part there. Data of no known kind is not blank; it may
 * be encrypted.
 */

import { open } from "node:fs/promises";
import type { Disk, DiskContents } from "#protocol/node.ts";
import { parsePartitionTable, sectorOctets } from "./partition-table.ts";

/** Reads `length` octets from `position` on; fewer at the end of the disk. */
export type ReadDisk = (position: number, length: number) => Promise<Buffer>;

const edgeOctets = 1 << 20;
/** The furthest magic number lies behind 128 KiB (ZFS). */
const volumeOctets = 132 * 1024;
/** Of a table with more partitions the rest is only counted. */
const mostLookedAt = 16;

interface Magic {
  readonly name: string;
  readonly offset: number;
  readonly octets: Buffer;
}
const text = (name: string, offset: number, octets: string): Magic => ({
  name,
  offset,
  octets: Buffer.from(octets, "latin1"),
});

/** In this order: a boot sector of NTFS has the signature of FAT too. */
const magics: readonly Magic[] = [
  text("LUKS", 0, "LUKS\xba\xbe"),
  text("BitLocker", 3, "-FVE-FS-"),
  text("NTFS", 3, "NTFS    "),
  text("exFAT", 3, "EXFAT   "),
  text("FAT", 0x52, "FAT32   "),
  text("FAT", 0x36, "FAT1"),
  text("ext", 0x438, "\x53\xef"),
  text("XFS", 0, "XFSB"),
  text("Btrfs", 0x1_0040, "_BHRfS_M"),
  text("F2FS", 0x400, "\x10\x20\xf5\xf2"),
  text("swap", 4086, "SWAPSPACE2"),
  text("LVM", 512, "LABELONE"),
  text("RAID member", 4096, "\xfc\x4e\x2b\xa9"),
  text("RAID member", 0, "\xfc\x4e\x2b\xa9"),
  text("ZFS", 0x2_0000, "\x0c\xb1\xba\x00"),
  text("APFS", 32, "NXSB"),
  text("HFS+", 0x400, "H+"),
  text("SquashFS", 0, "hsqs"),
  text("ISO 9660", 0x8001, "CD001"),
];

/** @throws what `read` throws */
export async function contentsOf(sizeBytes: number, read: ReadDisk): Promise<DiskContents> {
  const head = await read(0, Math.min(edgeOctets, sizeBytes));
  const tail = await read(Math.max(0, sizeBytes - edgeOctets), Math.min(edgeOctets, sizeBytes));
  if (isBlank(head) && isBlank(tail)) return { kind: "blank", text: "nothing" };
  const whole = fileSystemOf(head);
  const table = whole === undefined ? parsePartitionTable(head) : undefined;
  if (table) {
    const { kind, partitions } = table;
    const looked = partitions.slice(0, mostLookedAt);
    const names: string[] = [];
    for (const { offset } of looked) {
      names.push(offset < sizeBytes ? nameOf(await read(offset, volumeOctets)) : "beyond its end");
    }
    if (partitions.length > looked.length) names.push("…");
    const id = idOf(kind, head);
    const count = `${partitions.length} partition${partitions.length === 1 ? "" : "s"}`;
    const list = names.length > 0 ? `: ${names.join(", ")}` : "";
    return {
      kind: "known",
      text: `${kind.toUpperCase()} with ${count}${list}`,
      ...(id !== undefined && { id }),
    };
  }
  if (whole !== undefined) return { kind: "known", text: `${whole} on the whole disk` };
  const backup = tail.subarray(tail.length - sectorOctets).toString("latin1", 0, 8);
  if (backup === "EFI PART")
    return { kind: "known", text: "a GPT of which only the backup is left" };
  return { kind: "unknown", text: "data of no known kind, perhaps encrypted" };
}

function isBlank(octets: Buffer): boolean {
  const [first] = octets;
  if (first !== 0x00 && first !== 0xff) return octets.length === 0;
  return octets.equals(Buffer.alloc(octets.length, first)); // erased flash may read as ones
}

function nameOf(volume: Buffer): string {
  return fileSystemOf(volume) ?? (isBlank(volume) ? "nothing" : "unknown");
}

function fileSystemOf(volume: Buffer): string | undefined {
  return magics.find(({ offset, octets }) =>
    volume.subarray(offset, offset + octets.length).equals(octets),
  )?.name;
}

/** What tells one partition table from another: the disk's GUID, or an MBR's disk id. */
function idOf(kind: "gpt" | "mbr", head: Buffer): string | undefined {
  if (kind === "gpt") return `gpt:${head.toString("hex", sectorOctets + 56, sectorOctets + 72)}`;
  const id = head.readUInt32LE(440);
  return id === 0 ? undefined : `mbr:${id.toString(16).padStart(8, "0")}`;
}

/** Undefined where the disk cannot be read. @param file - a file that plays the disk */
export async function readContents(disk: Disk, file?: string): Promise<DiskContents | undefined> {
  const handle = await open(file ?? `/dev/${disk.name}`, "r").catch(() => undefined);
  if (!handle) return undefined;
  try {
    return await contentsOf(disk.sizeBytes, async (position, length) => {
      const buffer = Buffer.alloc(length);
      let filled = 0;
      while (filled < length) {
        const { bytesRead } = await handle.read(buffer, filled, length - filled, position + filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      return buffer.subarray(0, filled);
    });
  } catch {
    return undefined; // a disk that gives an error here has told enough: its contents are not known
  } finally {
    await handle.close();
  }
}
