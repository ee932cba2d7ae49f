/**
 * A file that is appended to in whole blocks, each of them on stable storage when
 * its write returns (O_DSYNC).
 */

import { write, writeSync } from "node:fs";
import { constants, type FileHandle, open } from "node:fs/promises";
import type { Clock } from "../clock.ts";

/** Below this a write is quicker than to hand it to another thread and wait to be woken. */
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
  const handle = await open(path, constants.O_WRONLY | constants.O_DSYNC);
  let position = end;
  /** How long writes take lately. */
  let usualMs = 0;
  return {
    get end() {
      return position;
    },
    async append(octets) {
      const start = clock.monotonic();
      if (usualMs < quickMs) writeAtOnce(handle, octets, position);
      else await writeBeside(handle, octets, position);
      position += octets.length;
      usualMs += (clock.monotonic() - start - usualMs) / 8;
    },
    close: () => handle.close(),
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
