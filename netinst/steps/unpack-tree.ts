/**
 * Unpacks a root file system from a tar stream: read and checked entry by entry, as the server did
 * when the image came, and made at once.
 */

import { closeSync, constants, openSync, readSync } from "node:fs";
import { crc32 } from "node:zlib";
import { createEntryCheck, keyOf, specialTypes } from "../../images/tar/entry.ts";
import { createTarReader } from "../../images/tar/reader.ts";
import { DiskError, InstallRefusedError } from "../errors.ts";
import { openTreeFiles, type TreeFiles } from "./tree-files.ts";

export interface TreeUnpacker extends Disposable {
  /** Resolves when more may come. @throws InstallRefusedError, DiskError */
  write(chunk: Buffer): Promise<void>;
  /** Resolves when everything is there. @throws InstallRefusedError, DiskError */
  end(): Promise<Unpacked>;
}

export interface Unpacked {
  /** Devices and pipes left out, which the OS makes itself. */
  readonly skipped: number;
  /** CRC-32 of each file as it came, by its name in the tree (one character per octet). */
  readonly sums: ReadonlyMap<string, number>;
  /** What the file system did not take, for people. */
  readonly warning?: string;
}

/** @param directory - the empty tree, already mounted; must be called as root for owners to hold */
export function openTreeUnpacker(directory: string): TreeUnpacker {
  const files = openTreeFiles(directory);
  const check = createEntryCheck();
  const sums = new Map<string, number>();
  let skipped = 0;
  let last = "";
  const reader = createTarReader({
    entry: (entry) => {
      last = "";
      if (specialTypes.has(entry.type)) {
        skipped++;
        return;
      }
      const why = check.refusal(entry);
      if (why) throw new InstallRefusedError(why);
      files.make(entry);
      last = keyOf(entry.path);
      if (entry.type === "file") sums.set(last, 0);
      else sums.delete(last); // of two of one name the last counts
    },
    content: (part) => {
      sums.set(last, crc32(part, sums.get(last)));
      files.write(part);
    },
  });
  return {
    write: (chunk) =>
      unpacking(async () => {
        reader.write(chunk);
        await files.settle();
      }),
    end: () =>
      unpacking(async () => {
        reader.end();
        await files.finish();
        const warning = warningOf(files);
        return { skipped, sums, ...(warning !== undefined && { warning }) };
      }),
    [Symbol.dispose]: () => files.close(),
  };
}

const faultsOfDisk: ReadonlySet<string | undefined> = new Set(["EIO", "EROFS"]);

async function unpacking<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const isOfDisk = faultsOfDisk.has((cause as NodeJS.ErrnoException).code);
    const Refusal = isOfDisk ? DiskError : InstallRefusedError;
    throw new Refusal("the root file system cannot be unpacked", { cause });
  }
}

function warningOf({ refused: { count, first } }: TreeFiles): string | undefined {
  if (!first) return undefined;
  return `${count} extended attributes were not taken, the first ${first.name} of ${first.path}`;
}

const readOctets = 1 << 20;
/** File after file is read without a pause, which is several times as fast; then others get their turn. */
const turnMs = 50;

/**
 * Reads the files of an unpacked tree back.
 *
 * @param tick - called with the octets read so far
 * @throws DiskError naming the first that is not as it came
 */
export async function verifyTree(
  directory: string,
  sums: Unpacked["sums"],
  tick: (octets: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const buffer = Buffer.allocUnsafe(readOctets);
  let done = 0;
  let turnEnds = 0;
  for (const [name, wanted] of sums) {
    let sum = 0;
    for (const part of partsOf(directory, name, buffer)) {
      sum = crc32(part, sum);
      done += part.length;
      if (performance.now() < turnEnds) continue;
      tick(done);
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
      turnEnds = performance.now() + turnMs;
    }
    if (sum === wanted) continue;
    const path = Buffer.from(name, "latin1").toString();
    throw new DiskError(`the disk returns other bytes of /${path} than were written`);
  }
  tick(done);
}

function* partsOf(directory: string, name: string, buffer: Buffer): Generator<Buffer, void> {
  const path = Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(name, "latin1")]);
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    for (;;) {
      const length = readSync(file, buffer, 0, readOctets, null);
      if (length === 0) return;
      yield buffer.subarray(0, length);
    }
  } finally {
    closeSync(file);
  }
}
