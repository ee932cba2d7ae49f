/**
 * Unpacks a root file system from a tar stream with npm `tar`, strict: any entry it cannot make
 * exactly is an error.
 *
 * Symbolic links are made last, by us: so nothing is ever written through one, and absolute ones
 * (`/etc/alternatives/awk -> /usr/bin/mawk`) stay as they are instead of being cut as hostile.
 * Modes beyond 0777 are set last too, because changing the owner clears them.
 */

import { chmodSync, lchownSync, realpathSync, symlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { type ReadEntry, Unpack } from "tar";
import { InstallRefusedError, reasonOf } from "../errors.ts";

export interface TreeUnpacker {
  /** Resolves when more may come. @throws InstallRefusedError */
  write(chunk: Buffer): Promise<void>;
  /** Resolves when everything is there. @returns devices and pipes left out, which the OS makes itself */
  end(): Promise<{ readonly skipped: number }>;
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
      return { skipped };
    },
  };
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
