/**
 * Slices of large files, read once for all who want them at about the same time:
 * 48 nodes that install one image ask for the same octets within seconds.
 *
 * A slice that is being read is waited for, not read again. The newest slices
 * are kept up to a budget; one that is dropped lives on as long as somebody
 * sends it. A file is known by inode, size and time of change, so a replaced
 * one is read anew.
 */

import type { FileHandle } from "node:fs/promises";

export const sliceBytes = 256 * 1024;
/** A whole netinst agent (44 MB), and the neighbourhood of some images. */
const budgetBytes = 64 * 1024 * 1024;

export interface FileSlices {
  /**
   * Octets `at` to the end of the slice that holds `at`, or of the file.
   *
   * @returns an empty array where the file ends before `at`: it became shorter
   */
  read(file: OpenFile, at: number): Promise<Uint8Array>;
}

export interface OpenFile {
  readonly handle: FileHandle;
  /** Equal for the same content only. */
  readonly version: string;
  readonly size: number;
}

export function createFileSlices(): FileSlices {
  const kept = new Map<string, Promise<Uint8Array>>();
  const maxKept = budgetBytes / sliceBytes;
  const slice = (file: OpenFile, index: number): Promise<Uint8Array> => {
    const key = `${file.version}/${index}`;
    const known = kept.get(key);
    if (known !== undefined) {
      kept.delete(key); // to the end of the insertion order
      kept.set(key, known);
      return known;
    }
    const reading = readSlice(file, index);
    kept.set(key, reading);
    reading.catch(() => kept.delete(key)); // the next one tries for itself
    const [oldest] = kept.keys();
    if (kept.size > maxKept && oldest !== undefined) kept.delete(oldest);
    return reading;
  };
  return {
    async read(file, at) {
      const index = Math.floor(at / sliceBytes);
      return (await slice(file, index)).subarray(at - index * sliceBytes);
    },
  };
}

async function readSlice({ handle, size }: OpenFile, index: number): Promise<Uint8Array> {
  const start = index * sliceBytes;
  const buffer = Buffer.allocUnsafeSlow(Math.max(0, Math.min(sliceBytes, size - start)));
  let filled = 0;
  while (filled < buffer.length) {
    const wanted = buffer.length - filled;
    const { bytesRead } = await handle.read(buffer, filled, wanted, start + filled);
    if (bytesRead === 0) break; // the file became shorter
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
