/**
 * Unpacks a root file system from a tar stream with npm `tar`, strict: any entry it cannot make
 * exactly is an error.
 *
 * Symbolic links are made last, by us: so nothing is ever written through one, and absolute ones
 * (`/etc/alternatives/awk -> /usr/bin/mawk`) stay as they are instead of being cut as hostile.
 * Modes beyond 0777 are set last too, because changing the owner clears them.
 */

import { chmodSync, lchownSync, realpathSync, symlinkSync } from "node:fs";
import { open } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { type ReadEntry, Unpack } from "tar";
import { DiskError, InstallRefusedError, reasonOf } from "../errors.ts";

export interface TreeUnpacker {
  /** Resolves when more may come. @throws InstallRefusedError */
  write(chunk: Buffer): Promise<void>;
  /** Resolves when everything is there. */
  end(): Promise<Unpacked>;
}

export interface Unpacked {
  /** Devices and pipes left out, which the OS makes itself. */
  readonly skipped: number;
  /** CRC-32 of each file as it came, by its path in the archive. */
  readonly sums: ReadonlyMap<string, number>;
}

interface Deferred {
  readonly path: string;
  readonly target: string;
  readonly uid: number;
  readonly gid: number;
}

const plainTypes = new Set(["File", "OldFile", "ContiguousFile", "Directory", "Link"]);
const specialTypes = new Set(["CharacterDevice", "BlockDevice", "FIFO"]);

/** @param directory - the empty tree, already mounted; must be called as root for owners to hold */
export function openTreeUnpacker(directory: string): TreeUnpacker {
  const root = realpathSync(directory);
  const links: Deferred[] = [];
  const modes: { readonly path: string; readonly mode: number }[] = [];
  const sums = new Map<string, number>();
  let skipped = 0;
  let failure: unknown;
  const asRoot = process.getuid?.() === 0;
  const unpack = new Unpack({
    cwd: root,
    strict: true,
    preserveOwner: asRoot,
    chmod: true,
    umask: 0,
    processUmask: 0,
    filter: (path, entry) => {
      const { type, linkpath, mode, uid, gid } = entry as ReadEntry;
      if (specialTypes.has(type)) {
        skipped++;
        return false;
      }
      if (type === "SymbolicLink") {
        links.push({ path, target: linkpath ?? "", uid: uid ?? 0, gid: gid ?? 0 });
        return false;
      }
      if (plainTypes.has(type) && type !== "Link" && ((mode ?? 0) & 0o7000) !== 0) {
        modes.push({ path, mode: (mode ?? 0) & 0o7777 });
      }
      if (plainTypes.has(type) && type !== "Link" && type !== "Directory") {
        sumUp(path, entry as ReadEntry, sums);
      }
      return true; // what tar does not know is its error, being strict
    },
  });
  const closed = new Promise<void>((resolve, reject) => {
    unpack.on("close", resolve);
    unpack.on("error", (error: unknown) => {
      failure ??= error;
      reject(error);
    });
  });
  closed.catch(() => {}); // told by write() or end()
  const refuse = (cause: unknown) => {
    throw new InstallRefusedError("the root file system cannot be unpacked", { cause });
  };
  return {
    write: async (chunk) => {
      if (failure !== undefined) refuse(failure);
      if (unpack.write(chunk)) return;
      await Promise.race([
        new Promise<void>((resolve) => unpack.once("drain", resolve)),
        closed.catch(refuse),
      ]);
    },
    end: async () => {
      unpack.end();
      await closed.catch(refuse);
      for (const link of links) makeLink(root, link, asRoot);
      for (const { path, mode } of modes) chmodSync(join(root, path), mode);
      return { skipped, sums };
    },
  };
}

/** Sees an entry's octets as they are handed to it: whoever writes them takes them from there. */
function sumUp(path: string, entry: ReadEntry, sums: Map<string, number>): void {
  const write = entry.write.bind(entry);
  sums.set(path, 0);
  entry.write = (chunk) => {
    const own = chunk.subarray(0, entry.remain); // the rest fills the last block
    sums.set(path, crc32(own, sums.get(path)));
    return write(chunk);
  };
}

const readOctets = 1 << 20;

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
  for (const [path, wanted] of sums) {
    signal.throwIfAborted();
    await using file = await open(join(directory, path));
    let sum = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, readOctets);
      if (bytesRead === 0) break;
      sum = crc32(buffer.subarray(0, bytesRead), sum);
      done += bytesRead;
    }
    if (sum !== wanted)
      throw new DiskError(`the disk returns other bytes of ${path} than were written`);
    tick(done);
  }
}

function makeLink(root: string, link: Deferred, asRoot: boolean): void {
  try {
    const parent = realpathSync(join(root, dirname(link.path)));
    if (parent !== root && !parent.startsWith(`${root}/`)) {
      throw new InstallRefusedError("it lies outside of the tree");
    }
    const at = join(parent, basename(link.path));
    symlinkSync(link.target, at);
    if (asRoot) lchownSync(at, link.uid, link.gid);
  } catch (cause) {
    throw new InstallRefusedError(`symbolic link ${link.path}: ${reasonOf(cause)}`, { cause });
  }
}
