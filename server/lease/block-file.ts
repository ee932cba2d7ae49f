/**
 * A file that is appended to in whole blocks, each of them on stable storage when
 * its write returns (O_DSYNC). Behind its end lies room filled with NULs.
 */

import { write, writeSync } from "node:fs";
import { constants, type FileHandle, open } from "node:fs/promises";
import type { Clock } from "../clock.ts";
import { loadCLibrary } from "../net/c-library.ts";

/** Octets. What is written past the kernel's cache begins and ends with one, in memory too. */
const block = 4096;
/** A write that takes less is quicker than to hand it to another thread and wait to be woken. */
const quickMs = 1;

export interface BlockFile {
  /** Where the next block goes. */
  readonly end: number;
  /**
   * Called again only when it has resolved. Rejects with the system's error: the octets may be
   * there in part then, and the next ones take their place.
   *
   * @param octets - as many as fill blocks
   */
  append(octets: Buffer): Promise<void>;
  close(): Promise<void>;
}

/** @param end - octets of the file that stay, a multiple of a block */
export async function openBlockFile(
  path: string,
  end: number,
  clock: Pick<Clock, "monotonic">,
): Promise<BlockFile> {
  const { handle, writable } = await openForBlocks(path, end);
  let position = end;
  /** Half of the writes lately took less: a disk that others use too is slow now and then. */
  let usualMs = quickMs / 8;
  return {
    get end() {
      return position;
    },
    async append(octets) {
      const start = clock.monotonic();
      const bytes = writable(octets);
      if (usualMs < quickMs) writeAtOnce(handle, bytes, position);
      else await writeBeside(handle, bytes, position);
      position += octets.length;
      usualMs *= clock.monotonic() - start > usualMs ? 1.1 : 1 / 1.1;
    },
    close: () => handle.close(),
  };
}

interface Opened {
  readonly handle: FileHandle;
  /** The octets as they may be written; valid until the next call. */
  readonly writable: (octets: Buffer) => Buffer;
}

/** Past the kernel's cache where the file system can do that. */
async function openForBlocks(path: string, end: number): Promise<Opened> {
  const flags = constants.O_WRONLY | constants.O_DSYNC;
  try {
    const writable = await blockMemory();
    const handle = await open(path, flags | constants.O_DIRECT);
    try {
      await handle.write(writable(Buffer.alloc(block)), 0, block, end); // what is there already
      return { handle, writable };
    } catch (error) {
      await handle.close();
      throw error;
    }
  } catch {
    return { handle: await open(path, flags), writable: (octets) => octets };
  }
}

/** Copies to where O_DIRECT writes from: memory that begins with a block. */
async function blockMemory(): Promise<Opened["writable"]> {
  const c = await loadCLibrary();
  let memory: Buffer = Buffer.alloc(0);
  return (octets) => {
    if (octets.length > memory.length) {
      const unaligned = Buffer.alloc(2 * octets.length + block);
      memory = unaligned.subarray(block - (c.addressOf(unaligned) % block));
    }
    memory.set(octets);
    return memory.subarray(0, octets.length);
  };
}

/** Holds everything up for the time the disk takes, and spares two threads a wake-up each. */
function writeAtOnce({ fd }: FileHandle, bytes: Buffer, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(fd, bytes, done, bytes.length - done, position + done);
  }
}

function writeBeside({ fd }: FileHandle, bytes: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const from = (done: number) =>
      write(fd, bytes, done, bytes.length - done, position + done, (error, written) => {
        if (error) return reject(error);
        if (done + written < bytes.length) return from(done + written);
        resolve();
      });
    from(0);
  });
}
