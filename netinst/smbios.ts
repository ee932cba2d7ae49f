/**
 * The memory modules that the firmware tells of: SMBIOS structures of type 17 (DSP0134 §7.18).
 *
 * Pure. Other structures are passed over; a table that breaks off ends there.
 *
 *   +------+--------+--------+---- ... ----+-------+-----+-------+-----+-----+
 *   | type | length | handle | formatted   | text1 | NUL | text2 | NUL | NUL |
 *   +------+--------+--------+---- ... ----+-------+-----+-------+-----+-----+
 *     1      1        2        length - 4    texts, named by their number from 1
 */

import type { MemoryModule } from "#protocol/node.ts";

const memoryDevice = 17;
const endOfTable = 127;
const headerOctets = 4;

/** §7.18.2; those that a machine of today may have. */
const memoryTypes: Readonly<Record<number, string>> = {
  15: "SDRAM",
  18: "DDR",
  19: "DDR2",
  24: "DDR3",
  26: "DDR4",
  27: "LPDDR",
  28: "LPDDR2",
  29: "LPDDR3",
  30: "LPDDR4",
  34: "DDR5",
  35: "LPDDR5",
};

/** What firmwares write where they have nothing to say. */
const nothing = /^(|0+|not specified|unknown|none|n\/a|no dimm|to be filled by o\.e\.m\.)$/i;

/** @param table - `/sys/firmware/dmi/tables/DMI` */
export function memoryModulesOf(table: Buffer): readonly MemoryModule[] {
  const modules: MemoryModule[] = [];
  for (let at = 0; at + headerOctets <= table.length; ) {
    const [type = endOfTable, length = 0] = table.subarray(at, at + 2);
    const texts = table.indexOf("\0\0", at + length, "latin1");
    if (type === endOfTable || length < headerOctets || texts < 0) break;
    if (type === memoryDevice) {
      const module = moduleOf(
        table.subarray(at, at + length),
        table.toString("latin1", at + length, texts).split("\0"),
      );
      if (module) modules.push(module);
    }
    at = texts + 2;
  }
  return modules;
}

/** Undefined for an empty socket. Older firmwares write shorter structures: what is not there is not told. */
function moduleOf(structure: Buffer, texts: readonly string[]): MemoryModule | undefined {
  const octet = (offset: number) => structure[offset] ?? 0;
  const word = (offset: number) =>
    offset + 2 <= structure.length ? structure.readUInt16LE(offset) : 0;
  const text = (offset: number) => {
    const found = (texts[octet(offset) - 1] ?? "").replaceAll(/\p{Cc}/gu, "").trim();
    return nothing.test(found) ? undefined : found.slice(0, 64);
  };
  const sizeMiB = sizeOf(structure, word(0x0c));
  if (sizeMiB === 0) return undefined;
  const speedMTs = word(0x20) || word(0x15); // as it runs, else as it could
  const type = memoryTypes[octet(0x12)];
  const [manufacturer, serial, part] = [text(0x17), text(0x18), text(0x1a)];
  return {
    socket: text(0x10) ?? "memory",
    sizeMiB,
    ...(type !== undefined && { type }),
    ...(speedMTs > 0 && speedMTs < 0xffff && { speedMTs }),
    ...(manufacturer !== undefined && { manufacturer }),
    ...(part !== undefined && { part }),
    ...(serial !== undefined && { serial }),
  };
}

function sizeOf(structure: Buffer, size: number): number {
  if (size === 0xffff) return 0; // unknown
  if (size !== 0x7fff) return size & 0x8000 ? Math.round((size & 0x7fff) / 1024) : size;
  return structure.length >= 0x20 ? structure.readUInt32LE(0x1c) & 0x7fff_ffff : 0;
}
