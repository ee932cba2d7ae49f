/**
 * Whether a disk image has the root file system that netinst looks for: ext2, 3 or 4 in one of its
 * partitions. In it go host name, keys and agent, so an image without one would be refused by the
 * agent, after the disk was written. The bytes are seen once, in order, as they stream by.
 */

import { extMagic, headOctets, parsePartitionTable } from "../netinst/partition-table.ts";
import { ImageInvalidError } from "../server/errors.ts";
import type { FormatCheck } from "./formats/format.ts";

export function startRootSearch(): FormatCheck {
  const head = Buffer.alloc(headOctets);
  let length = 0;
  let wanted: readonly number[] | undefined;
  let described = "no partition table";
  let low: number | undefined;
  let isFound = false;

  const readTable = (): readonly number[] => {
    const partitions = parsePartitionTable(head)?.partitions;
    if (partitions) {
      described = partitions.map(({ number, type }) => `${number} (type ${type})`).join(", ");
    }
    return (partitions ?? []).map(({ offset }) => offset).filter((at) => at >= headOctets);
  };
  const octetAt = (bytes: Uint8Array, from: number, at: number) =>
    at >= from && at < from + bytes.length ? bytes[at - from] : undefined;

  return {
    write(bytes) {
      const from = length;
      if (from < headOctets) head.set(bytes.subarray(0, headOctets - from), from);
      length += bytes.length;
      if (length >= headOctets) wanted ??= readTable();
      for (const start of wanted ?? []) {
        const at = start + extMagic.at;
        low = octetAt(bytes, from, at) ?? low; // the two may come in two pieces
        const high = octetAt(bytes, from, at + 1);
        if (high !== undefined && low !== undefined && ((high << 8) | low) === extMagic.value) {
          isFound = true;
        }
      }
    },
    end() {
      if (isFound) return;
      throw new ImageInvalidError(
        `no ext4 root file system in the disk image (${described}): netinst sets up the node in it. Push the system's files as a tar archive instead`,
      );
    },
  };
}
