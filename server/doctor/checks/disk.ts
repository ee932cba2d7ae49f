/** Room in the state directory, and whether what is written there stays. */

import { closeSync, fsyncSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Finding } from "#protocol/timeline.ts";
import { type Check, type CheckContext, fine, hint, problem } from "../check.ts";
import { sizeText } from "../words.ts";

const least = 1e9; // octets: the journal and one small image
const littleShare = 0.1;
/** A binding is answered after its fsync: this bounds how many are answered in a second. */
const slowSync = 100;
const tries = 5;

export const diskCheck: Check = {
  name: "disk",
  async examine(context) {
    const directory = existing(context.config.stateDirectory);
    return [...room(directory), ...durability(directory, context)];
  },
};

/** The state directory is made at the first start: until then its parent tells. */
function existing(path: string): string {
  try {
    statfsSync(path);
    return path;
  } catch (error) {
    const parent = dirname(path);
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || parent === path) throw error;
    return existing(parent);
  }
}

function room(directory: string): readonly Finding[] {
  const { bavail, bsize, blocks, files, ffree } = statfsSync(directory);
  const free = bavail * bsize;
  const text = `${directory} has ${sizeText(free)} free`;
  const remedy = "delete images nobody needs (`marcoboot image list`), or give it a larger disk";
  if (free < least) return [problem("disk-full", text, remedy)];
  if (files > 0 && ffree === 0)
    return [problem("disk-full", `${directory} has no inode left`, remedy)];
  if (bavail / blocks < littleShare) return [hint("disk-nearly-full", text, remedy)];
  return [fine("disk", text)];
}

/** A few small writes, as the journal makes them. */
function durability(directory: string, { clock }: CheckContext): readonly Finding[] {
  const path = join(directory, `.doctor-${process.pid}`);
  const times: number[] = [];
  try {
    const fd = openSync(path, "w", 0o600);
    try {
      for (let turn = 0; turn < tries; turn++) {
        const before = clock.monotonic();
        writeSync(fd, Buffer.alloc(4096, turn));
        fsyncSync(fd);
        times.push(clock.monotonic() - before);
      }
    } finally {
      closeSync(fd);
      rmSync(path, { force: true });
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [
      problem(
        "disk-not-writable",
        `nothing can be written to ${directory}: ${reason}`,
        "see who owns it and whether its file system is mounted read-only",
      ),
    ];
  }
  const middle = times.toSorted((one, other) => one - other)[Math.floor(tries / 2)] ?? 0;
  const text = `a small write is on the disk after ${middle.toFixed(1)} ms`;
  if (middle <= slowSync) return [fine("disk-sync", text)];
  return [
    hint(
      "disk-slow",
      text,
      "put the state directory on a faster disk: a new lease is answered after such a write",
    ),
  ];
}
