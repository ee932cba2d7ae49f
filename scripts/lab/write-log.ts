/**
 * The log of a disk's writes that QEMU keeps (block driver blklogwrites, the format
 * of Linux' dm-log-writes: Documentation/admin-guide/device-mapper/log-writes.rst),
 * and the disks that a power cut at any of its points would have left.
 *
 *   super block   magic u64, version u64, entries u64, sector size u32
 *   entry         sector u64, sectors u64, flags u64, data length u64; padded to a sector
 *                 then its data, except of a discard
 */

import { closeSync, fstatSync, openSync, readSync } from "node:fs";

export const sectorOctets = 512;
const magic = 0x6a73_6677_7368_72n;
const flagFlush = 1n;
const flagFua = 2n;
const flagDiscard = 4n;

export interface LoggedWrite {
  /** First sector of the disk, and how many; none for a mere flush. */
  readonly sector: number;
  readonly sectors: number;
  /** Where its data is in the log; undefined: the sectors were discarded, they read as zeros. */
  readonly dataAt: number | undefined;
  /** Everything before it is on stable storage once it is there. */
  readonly flushes: boolean;
}

export interface WriteLog {
  readonly writes: readonly LoggedWrite[];
  read(position: number, octets: number): Buffer;
  close(): void;
}

/**
 * @param octets - how much of it is read; default: all there is
 * @throws Error when the file is no such log
 */
export function openWriteLog(path: string, octets?: number): WriteLog {
  const file = openSync(path, "r");
  const size = Math.min(octets ?? Number.MAX_SAFE_INTEGER, fstatSync(file).size);
  const read = (position: number, length: number): Buffer => {
    const buffer = Buffer.alloc(length);
    const got = readSync(file, buffer, 0, length, position);
    if (got !== length) throw new Error(`${path} ends within ${position}-${position + length}`);
    return buffer;
  };
  const head = read(0, 28);
  if (head.readBigUInt64LE(0) !== magic || head.readUInt32LE(24) !== sectorOctets) {
    throw new Error(`${path} is no log of writes in ${sectorOctets}-octet sectors`);
  }
  const writes: LoggedWrite[] = [];
  for (let position = sectorOctets; position + sectorOctets <= size; ) {
    const entry = read(position, 32);
    const sectors = Number(entry.readBigUInt64LE(8));
    const flags = entry.readBigUInt64LE(16);
    const isDiscard = (flags & flagDiscard) !== 0n;
    const dataAt = position + sectorOctets;
    position = dataAt + (isDiscard ? 0 : sectors * sectorOctets);
    if (position > size) break; // was being written
    writes.push({
      sector: Number(entry.readBigUInt64LE(0)),
      sectors,
      dataAt: isDiscard ? undefined : dataAt,
      flushes: (flags & (flagFlush | flagFua)) !== 0n,
    });
  }
  return { writes, read, close: () => closeSync(file) };
}

/**
 * A disk as the log's writes leave it, sector by sector: which write was the last
 * there. Before the first one it holds `base`, by default zeros.
 */
export class ReplayedDisk {
  readonly #log: WriteLog;
  /** Number of the write from 1; 0: none. */
  readonly #last: Uint32Array;
  readonly #base: (sector: number) => Buffer;

  constructor(log: WriteLog, sectors: number, base: (sector: number) => Buffer = () => zeros) {
    this.#log = log;
    this.#last = new Uint32Array(sectors);
    this.#base = base;
  }

  get sectors(): number {
    return this.#last.length;
  }

  apply(index: number): void {
    const { sector, sectors } = this.#log.writes[index] ?? { sector: 0, sectors: 0 };
    this.#last.fill(index + 1, sector, sector + sectors);
  }

  /** Puts back what {@link apply} changes, when `work` is done. */
  with<T>(indices: readonly number[], work: () => T): T {
    const before = indices.map((index) => {
      const { sector, sectors } = this.#log.writes[index] ?? { sector: 0, sectors: 0 };
      const kept = this.#last.slice(sector, sector + sectors);
      this.apply(index);
      return { sector, kept };
    });
    try {
      return work();
    } finally {
      for (const { sector, kept } of before.reverse()) this.#last.set(kept, sector);
    }
  }

  sector(number: number): Buffer {
    const last = this.#last[number] ?? 0;
    if (last === 0) return this.#base(number);
    const write = this.#log.writes[last - 1];
    if (write?.dataAt === undefined) return zeros;
    return this.#log.read(write.dataAt + (number - write.sector) * sectorOctets, sectorOctets);
  }

  /** The first sector that holds something else there, of those that are looked at. */
  firstDifference(
    other: ReplayedDisk,
    isLookedAt: (sector: number) => boolean = () => true,
  ): number | undefined {
    for (let number = 0; number < this.#last.length; number++) {
      if (this.#last[number] === other.#last[number] || !isLookedAt(number)) continue;
      if (!this.sector(number).equals(other.sector(number))) return number;
    }
    return undefined;
  }

  /** Sectors that some write reached, with their content, in order. */
  *written(): Generator<readonly [sector: number, content: Buffer]> {
    for (let number = 0; number < this.#last.length; number++) {
      if (this.#last[number] !== 0) yield [number, this.sector(number)];
    }
  }
}

const zeros = Buffer.alloc(sectorOctets);

/**
 * Whether a firmware could try to boot it: a BIOS wants the signature at the end of sector 0,
 * and UEFI firmware takes a partition table for a GPT only behind a protective MBR, which has it
 * too (UEFI 2.10 §5.2.3; EDK2's PartitionDxe, Gpt.c), whatever is in either header.
 */
export function mayBoot(disk: ReplayedDisk): boolean {
  const boot = disk.sector(0);
  return boot[510] === 0x55 && boot[511] === 0xaa;
}
