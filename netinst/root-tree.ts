/**
 * Reads and writes files of an OS that is mounted somewhere, without being led outside.
 *
 * The tree comes from an image: a symbolic link in it (`/etc -> /run`) is meant for the booted OS
 * and would point into *this* system here. So a directory that leads outside is refused, and a
 * file is replaced by rename, never written through.
 */

import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { InstallRefusedError } from "./errors.ts";

export interface RootTree {
  readonly directory: string;
  /** Creates directories on the way. `mode` in octal, 0644 when absent. */
  write(path: string, content: string | Uint8Array, mode?: number): void;
  makeDirectory(path: string, mode: number): void;
  /** Replaces what is there. */
  link(path: string, target: string): void;
  remove(path: string): void;
  /** Also true for a link that points nowhere in this system. */
  has(path: string): boolean;
  /** Path in this system of what is there; makes nothing. */
  find(path: string): string | undefined;
  /** Path in this system whose parent is surely inside. @throws InstallRefusedError */
  locate(path: string): string;
}

export function openRootTree(directory: string): RootTree {
  const root = realpathSync(directory);
  const locate = (path: string, mode = 0o755): string => {
    const parent = join(root, dirname(path));
    let at = root;
    for (const part of dirname(path)
      .split("/")
      .filter((name) => name !== "" && name !== ".")) {
      at = step(root, at, part, mode);
    }
    if (at !== root && !at.startsWith(`${root}/`)) {
      throw new InstallRefusedError(`${parent} leads out of the installed system`);
    }
    return join(at, path.split("/").at(-1) ?? "");
  };
  const find = (path: string): string | undefined => {
    try {
      const at = locateExisting(root, path);
      return isThere(at) ? at : undefined;
    } catch {
      return undefined;
    }
  };
  return {
    directory: root,
    locate,
    write: (path, content, mode = 0o644) => {
      const to = locate(path);
      rmSync(`${to}.marcoboot`, { force: true });
      writeFileSync(`${to}.marcoboot`, content, { mode, flag: "wx" });
      chmodSync(`${to}.marcoboot`, mode); // whatever the umask
      renameSync(`${to}.marcoboot`, to);
    },
    makeDirectory: (path, mode) => {
      const to = locate(path);
      if (!isThere(to)) mkdirSync(to, { mode });
      else if (!lstatSync(to).isDirectory())
        throw new InstallRefusedError(`${path} of the image is no directory`);
      chmodSync(to, mode);
    },
    link: (path, target) => {
      const to = locate(path);
      rmSync(to, { force: true });
      symlinkSync(target, to);
    },
    remove: (path) => rmSync(locate(path), { force: true }),
    has: (path) => find(path) !== undefined,
    find,
  };
}

/** One directory deeper, made if missing; links are followed as the booted OS would. */
function step(root: string, at: string, part: string, mode: number): string {
  if (part === "..")
    throw new InstallRefusedError(`a path with ".." leads out of the installed system`);
  const next = join(at, part);
  if (!isThere(next)) {
    mkdirSync(next, { mode });
    return next;
  }
  if (!lstatSync(next).isSymbolicLink()) return next;
  const real = existsSync(next) ? realpathSync(next) : next;
  if (!real.startsWith(`${root}/`)) {
    throw new InstallRefusedError(
      `${next.slice(root.length)} of the image leads out of the installed system`,
    );
  }
  return real;
}

function locateExisting(root: string, path: string): string {
  const parent = realpathSync(join(root, dirname(path)));
  if (parent !== root && !parent.startsWith(`${root}/`)) {
    throw new InstallRefusedError(`${path} leads out of the installed system`);
  }
  return join(parent, path.split("/").at(-1) ?? "");
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
