/**
 * A file that is appended to in whole blocks, each of them on stable storage when
 * its write returns (O_DSYNC). Past the kernel's cache where the file system lets
 * us (O_DIRECT): one copy less, and no other program's unwritten files in the way.
 */

import { write, writeSync } from "node:fs";
import { constants, type FileHandle, open } from "node:fs/promises";
import type { Clock } from "../clock.ts";

/** Below this a write is quicker than to hand it to another thread and wait to be woken. */
const quickMs = 1;
const pageOctets = 65_536;

/** The one part of WebAssembly that is used; its types come with `lib dom` only. */
interface PageMemory {
  readonly buffer: ArrayBuffer;
}
const { Memory } = (
  globalThis as unknown as {
    WebAssembly: { Memory: new (size: { initial: number }) => PageMemory };
  }
).WebAssembly;

export interface BlockFile {
  /** Where the next block goes. */
  readonly end: number;
  /**
   * Called again only when it has resolved. Rejects with the system's error: the text may be
   * there in part then, and the next one takes its place.
   *
   * @param text - ASCII, as many octets as fill blocks
   */
  append(text: string): Promise<void>;
  close(): Promise<void>;
}

/** @param end - octets of the file that stay, a multiple of a block */
export async function openBlockFile(
  path: string,
  end: number,
  clock: Pick<Clock, "monotonic">,
): Promise<BlockFile> {
  let memory = alignedMemory(pageOctets);
  const handle = (await openDirect(path, memory)) ?? (await open(path, flags));
  let position = end;
  /** How long writes take lately. */
  let usualMs = 0;
  return {
    get end() {
      return position;
    },
    async append(text) {
      if (text.length > memory.length) memory = alignedMemory(text.length);
      const bytes = memory.subarray(0, text.length);
      bytes.write(text, "latin1");
      const start = clock.monotonic();
      if (usualMs < quickMs) writeAtOnce(handle, bytes, position);
      else await writeBeside(handle, bytes, position);
      position += bytes.length;
      usualMs += (clock.monotonic() - start - usualMs) / 8;
    },
    close: () => handle.close(),
  };
}

const flags = constants.O_RDWR | constants.O_DSYNC;

/** Undefined where the file system has no direct access, or wants larger blocks. */
async function openDirect(path: string, memory: Buffer): Promise<FileHandle | undefined> {
  const handle = await open(path, flags | constants.O_DIRECT).catch(() => undefined);
  if (handle === undefined) return undefined;
  try {
    await handle.read(memory, 0, 4096, 0);
    return handle;
  } catch {
    await handle.close();
    return undefined;
  }
}

/** Memory that O_DIRECT accepts: that of WebAssembly begins at a page, a Buffer's anywhere. */
function alignedMemory(length: number): Buffer {
  return Buffer.from(new Memory({ initial: Math.ceil(length / pageOctets) }).buffer);
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
