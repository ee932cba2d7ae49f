/**
 * Partition tables: GPT (UEFI specification §5) and MBR, read from the first MiB of a disk, grown
 * to a larger disk, and made anew. Pure: bytes in, bytes out.
 *
 *   sector  0        1           2 … 33        34 …                last-32 … last-1   last
 *           +--------+-----------+-------------+-------- … --------+------------------+---------+
 *           | MBR    | header    | 128 entries | partitions        | 128 entries      | header  |
 *           +--------+-----------+-------------+-------- … --------+------------------+---------+
 */

import { randomUUID } from "node:crypto";
import { crc32 } from "node:zlib";

export const sectorOctets = 512;
/** What is held back until the commit: more than any table, and where boot loaders hide their core. */
export const headOctets = 1 << 20;
/** Backup entries and header of a GPT, at the very end of the disk. */
export const backupOctets = 33 * sectorOctets;

/** Magic number of ext2, 3 and 4, and where it is from the start of the partition (ext4 on-disk layout). */
export const extMagic = { at: 1024 + 0x38, value: 0xef53 } as const;

const entriesOctets = 128 * 128;
const alignment = 2048; // sectors: 1 MiB, as every partitioner of today aligns

export interface Partition {
  /** From 1, as the kernel numbers them. */
  readonly number: number;
  /** In octets from the start of the disk. */
  readonly offset: number;
  readonly length: number;
  /** GUID in lower case (GPT) or two hexadecimal digits (MBR). */
  readonly type: string;
  /** PARTUUID, as the kernel writes it. */
  readonly uuid: string;
}

export interface PartitionTable {
  readonly kind: "gpt" | "mbr";
  readonly partitions: readonly Partition[];
}

export const partitionTypes = {
  biosBoot: "21686148-6449-6e6f-744e-656564454649",
  efiSystem: "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
  linux: "0fc63daf-8483-4772-8e79-3d69d8477de4",
} as const;

/** A head and, for GPT, what belongs into the last {@link backupOctets} of the disk. */
export interface GrownTable {
  readonly head: Buffer;
  readonly backup?: Buffer;
}

/** Undefined if there is no table, or one that contradicts itself. */
export function parsePartitionTable(head: Uint8Array): PartitionTable | undefined {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  if (bytes.length < 3 * sectorOctets || bytes.readUInt16LE(510) !== 0xaa55) return undefined;
  const primary = readMbr(bytes);
  if (!primary.some((one) => one.type === "ee")) {
    return primary.length === 0 ? undefined : { kind: "mbr", partitions: primary };
  }
  return readGpt(bytes);
}

function readMbr(bytes: Buffer): readonly Partition[] {
  return [1, 2, 3, 4]
    .map((number) => {
      const at = 446 + (number - 1) * 16;
      return {
        number,
        offset: bytes.readUInt32LE(at + 8) * sectorOctets,
        length: bytes.readUInt32LE(at + 12) * sectorOctets,
        type: bytes.toString("hex", at + 4, at + 5),
        uuid: `${bytes.readUInt32LE(440).toString(16).padStart(8, "0")}-${String(number).padStart(2, "0")}`,
      };
    })
    .filter((one) => one.type !== "00" && one.length > 0);
}

interface GptShape {
  readonly entriesAt: number;
  readonly count: number;
  readonly size: number;
}

function gptShape(bytes: Buffer): GptShape | undefined {
  const header = bytes.subarray(sectorOctets, 2 * sectorOctets);
  if (header.toString("latin1", 0, 8) !== "EFI PART") return undefined;
  const length = header.readUInt32LE(12);
  if (length < 92 || length > sectorOctets) return undefined;
  const zeroed = Buffer.from(header.subarray(0, length));
  zeroed.writeUInt32LE(0, 16);
  if (crc32(zeroed) !== header.readUInt32LE(16)) return undefined;
  const shape = {
    entriesAt: Number(header.readBigUInt64LE(72)) * sectorOctets,
    count: header.readUInt32LE(80),
    size: header.readUInt32LE(84),
  };
  const fits = shape.size >= 128 && shape.entriesAt + shape.count * shape.size <= bytes.length;
  if (!fits) return undefined;
  const entries = bytes.subarray(shape.entriesAt, shape.entriesAt + shape.count * shape.size);
  return crc32(entries) === header.readUInt32LE(88) ? shape : undefined;
}

function readGpt(bytes: Buffer): PartitionTable | undefined {
  const shape = gptShape(bytes);
  if (shape === undefined) return undefined;
  const partitions: Partition[] = [];
  for (let index = 0; index < shape.count; index++) {
    const at = shape.entriesAt + index * shape.size;
    const type = readGuid(bytes, at);
    if (type === "00000000-0000-0000-0000-000000000000") continue;
    const first = Number(bytes.readBigUInt64LE(at + 32));
    const last = Number(bytes.readBigUInt64LE(at + 40));
    partitions.push({
      number: index + 1,
      offset: first * sectorOctets,
      length: (last - first + 1) * sectorOctets,
      type,
      uuid: readGuid(bytes, at + 16),
    });
  }
  return { kind: "gpt", partitions };
}

/** GUIDs mix byte orders: the first three groups are little-endian. */
function readGuid(bytes: Buffer, at: number): string {
  const hex = (from: number, to: number) => bytes.toString("hex", at + from, at + to);
  const turned = (from: number, to: number) =>
    Buffer.from(bytes.subarray(at + from, at + to))
      .reverse()
      .toString("hex");
  return `${turned(0, 4)}-${turned(4, 6)}-${turned(6, 8)}-${hex(8, 10)}-${hex(10, 16)}`;
}

function writeGuid(bytes: Buffer, at: number, guid: string): void {
  const raw = Buffer.from(guid.replaceAll("-", ""), "hex");
  raw.subarray(0, 4).reverse();
  raw.subarray(4, 6).reverse();
  raw.subarray(6, 8).reverse();
  raw.copy(bytes, at);
}

/**
 * The table for a disk of `diskOctets`: the partition that lies last grows to the end, the backup
 * GPT moves there. A logical partition (MBR) is left as it is.
 *
 * @param head - the first MiB of the image, not changed
 * @returns the new head and the partition that grew, if one did
 */
export function growLastPartition(
  head: Buffer,
  diskOctets: number,
): GrownTable & { readonly grown?: Partition } {
  const table = parsePartitionTable(head);
  const last = table?.partitions.toSorted((a, b) => b.offset - a.offset)[0];
  const copy = Buffer.from(head);
  if (table === undefined || last === undefined) return { head: copy };
  const diskSectors = Math.floor(diskOctets / sectorOctets);
  return table.kind === "gpt" ? growGpt(copy, last, diskSectors) : growMbr(copy, last, diskSectors);
}

const extendedTypes = new Set(["05", "0f", "85"]);

function growMbr(
  head: Buffer,
  last: Partition,
  diskSectors: number,
): GrownTable & { readonly grown?: Partition } {
  if (extendedTypes.has(last.type)) return { head };
  const first = last.offset / sectorOctets;
  const sectors = Math.min(alignDown(diskSectors - first), 0xffff_ffff);
  if (sectors * sectorOctets <= last.length) return { head };
  const at = 446 + (last.number - 1) * 16;
  head.writeUInt32LE(sectors, at + 12);
  head.set([0xfe, 0xff, 0xff], at + 5); // CHS end: "beyond what CHS can say"
  return { head, grown: { ...last, length: sectors * sectorOctets } };
}

function growGpt(
  head: Buffer,
  last: Partition,
  diskSectors: number,
): GrownTable & { readonly grown?: Partition } {
  const shape = gptShape(head);
  if (shape === undefined) return { head };
  const first = last.offset / sectorOctets;
  const backupEntries = diskSectors - 1 - Math.ceil((shape.count * shape.size) / sectorOctets);
  // the partition ends at a whole MiB before the backup table, where that still is growth
  const end = alignDown(backupEntries - first) + first;
  const grows = (end - first) * sectorOctets > last.length;
  if (grows) {
    const at = shape.entriesAt + (last.number - 1) * shape.size;
    head.writeBigUInt64LE(BigInt(end - 1), at + 40);
  }
  writeProtectiveMbr(head, diskSectors);
  const backup = sealGpt(head, shape, diskSectors);
  return grows
    ? { head, backup, grown: { ...last, length: (end - first) * sectorOctets } }
    : { head, backup };
}

function alignDown(sectors: number): number {
  return sectors - (sectors % alignment);
}

/** Boot code and signature are kept; partition 1 covers the disk, as far as 32 bits can say. */
function writeProtectiveMbr(head: Buffer, diskSectors: number): void {
  const at = [446, 462, 478, 494].find((entry) => head[entry + 4] === 0xee) ?? 446;
  head.writeUInt32LE(1, at + 8);
  head.writeUInt32LE(Math.min(diskSectors - 1, 0xffff_ffff), at + 12);
  head[at + 4] = 0xee;
  head.set([0x00, 0x02, 0x00], at + 1);
  head.set([0xff, 0xff, 0xff], at + 5);
  head.writeUInt16LE(0xaa55, 510);
}

/** Writes both headers with their sums; returns the last sectors of the disk. */
function sealGpt(head: Buffer, shape: GptShape, diskSectors: number): Buffer {
  const entries = head.subarray(shape.entriesAt, shape.entriesAt + shape.count * shape.size);
  const entrySectors = Math.ceil(entries.length / sectorOctets);
  const header = head.subarray(sectorOctets, 2 * sectorOctets);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(BigInt(diskSectors - 1), 32);
  header.writeBigUInt64LE(BigInt(diskSectors - entrySectors - 2), 48);
  header.writeUInt32LE(crc32(entries), 88);
  sealHeader(header);
  const backup = Buffer.alloc((entrySectors + 1) * sectorOctets);
  entries.copy(backup);
  const second = backup.subarray(entrySectors * sectorOctets);
  header.copy(second);
  second.writeBigUInt64LE(BigInt(diskSectors - 1), 24);
  second.writeBigUInt64LE(1n, 32);
  second.writeBigUInt64LE(BigInt(diskSectors - 1 - entrySectors), 72);
  sealHeader(second);
  return backup;
}

function sealHeader(header: Buffer): void {
  const length = header.readUInt32LE(12);
  header.writeUInt32LE(0, 16);
  header.writeUInt32LE(crc32(header.subarray(0, length)), 16);
}

export interface WantedPartition {
  /** GUID for GPT, two hexadecimal digits for MBR. */
  readonly type: string;
  /** At most 36 characters; GPT only. */
  readonly name: string;
  /** First octet; a multiple of 512. */
  readonly offset: number;
  /** Octets; absent: to the end of the disk. */
  readonly length?: number;
  /** PARTUUID (GPT); random when absent. */
  readonly guid?: string;
}

/** A new GPT. The head holds nothing else yet. */
export function makeGpt(
  diskOctets: number,
  wanted: readonly WantedPartition[],
): Required<GrownTable> {
  const diskSectors = Math.floor(diskOctets / sectorOctets);
  const head = Buffer.alloc(headOctets);
  const shape: GptShape = { entriesAt: 2 * sectorOctets, count: 128, size: 128 };
  const header = head.subarray(sectorOctets, 2 * sectorOctets);
  header.write("EFI PART", 0, "latin1");
  header.writeUInt32LE(0x0001_0000, 8); // revision 1.0
  header.writeUInt32LE(92, 12);
  header.writeBigUInt64LE(34n, 40);
  writeGuid(header, 56, randomUUID());
  header.writeBigUInt64LE(2n, 72);
  header.writeUInt32LE(shape.count, 80);
  header.writeUInt32LE(shape.size, 84);
  for (const [index, one] of wanted.entries()) {
    const at = shape.entriesAt + index * shape.size;
    const first = one.offset / sectorOctets;
    const room = diskSectors - 33 - first;
    const sectors = one.length === undefined ? alignDown(room) : one.length / sectorOctets;
    writeGuid(head, at, one.type);
    writeGuid(head, at + 16, one.guid ?? randomUUID());
    head.writeBigUInt64LE(BigInt(first), at + 32);
    head.writeBigUInt64LE(BigInt(first + sectors - 1), at + 40);
    head.write(one.name, at + 56, 72, "utf16le");
  }
  writeProtectiveMbr(head, diskSectors);
  const backup = sealGpt(head, shape, diskSectors);
  return { head, backup: backup.subarray(0, entriesOctets + sectorOctets) };
}

/** A new MBR. @param diskId - 32 bits; PARTUUIDs are `<diskId in hex>-<number>` */
export function makeMbr(
  diskOctets: number,
  diskId: number,
  wanted: readonly WantedPartition[],
): GrownTable {
  const diskSectors = Math.floor(diskOctets / sectorOctets);
  const head = Buffer.alloc(headOctets);
  head.writeUInt32LE(diskId, 440);
  for (const [index, one] of wanted.entries()) {
    const at = 446 + index * 16;
    const first = one.offset / sectorOctets;
    const room = Math.min(alignDown(diskSectors - first), 0xffff_ffff);
    head.set([0xfe, 0xff, 0xff], at + 1);
    head[at + 4] = Number.parseInt(one.type, 16);
    head.set([0xfe, 0xff, 0xff], at + 5);
    head.writeUInt32LE(first, at + 8);
    head.writeUInt32LE(one.length === undefined ? room : one.length / sectorOctets, at + 12);
  }
  head.writeUInt16LE(0xaa55, 510);
  return { head };
}
