/**
 * Makes the files of a tree, entry by entry and with few calls: each file is opened, written and
 * closed once, without a turn of the event loop.
 *
 * Symbolic links are made last, so nothing is ever written through one; directories get their owners,
 * modes, times and attributes then too, since what is made in them would change these.
 */

import {
  chmodSync,
  closeSync,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  realpathSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { attributePrefix, keyOf, type TarEntry } from "../../images/tar/entry.ts";
import {
  type ExtendedAttribute,
  openAttributes,
  type SetAttribute,
} from "../extended-attributes.ts";

export interface TreeFiles {
  /** Of a file: {@link write} brings its content. */
  make(entry: TarEntry): void;
  write(part: Buffer): void;
  /** Sets the attributes of the files that are there; to be called before they are too many to remember. */
  settle(): Promise<void>;
  /** Everything is there when this resolves. */
  finish(): Promise<void>;
  /** Gives back what is open. */
  close(): void;
  /** Attributes that the file system did not take. */
  readonly refused: { readonly count: number; readonly first?: ExtendedAttribute };
}

interface OpenFile {
  readonly descriptor: number;
  readonly entry: TarEntry;
  readonly path: Buffer;
  /** Octets of content to come. */
  left: number;
}

/** @param directory - the empty tree: what was in it might lead elsewhere */
export function openTreeFiles(directory: string): TreeFiles {
  const root = Buffer.from(realpathSync(directory)).toString("latin1");
  const pathOf = (key: string) => Buffer.from(key === "" ? root : `${root}/${key}`, "latin1");
  const chowns = process.getuid?.() === 0;
  const directories = new Map<string, TarEntry>();
  const symbolicLinks = new Set<string>();
  /** Symbolic links, and hard links to them. */
  const late: TarEntry[] = [];
  const attributes: ExtendedAttribute[] = [];
  let refused: TreeFiles["refused"] = { count: 0 };
  let setAttribute: SetAttribute | undefined;
  let file: OpenFile | undefined;

  function remember(path: Buffer, entry: TarEntry): void {
    for (const [name, value] of entry.attributes) {
      attributes.push({ path, name: name.slice(attributePrefix.length), value });
    }
  }

  function openFile(entry: TarEntry, path: Buffer): void {
    const descriptor = insist(path, () => openSync(path, "wx", 0o600));
    file = { descriptor, entry, path, left: entry.size };
    finishFile(file);
  }

  function finishFile({ descriptor, entry, path, left }: OpenFile): void {
    if (left > 0) return;
    // who is root made it root's
    if (chowns && (entry.uid > 0 || entry.gid > 0)) fchownSync(descriptor, entry.uid, entry.gid);
    fchmodSync(descriptor, entry.mode); // after the owner, whose change clears bits above 0777
    futimesSync(descriptor, Number(entry.mtime), Number(entry.mtime));
    file = undefined;
    closeSync(descriptor);
    remember(path, entry);
  }

  function makeLate(entry: TarEntry): void {
    const path = pathOf(keyOf(entry.path));
    if (entry.type === "link") {
      insist(path, () => linkSync(pathOf(keyOf(entry.target)), path));
      return;
    }
    insist(path, () => symlinkSync(Buffer.from(entry.target, "latin1"), path));
    if (chowns && (entry.uid > 0 || entry.gid > 0)) lchownSync(path, entry.uid, entry.gid);
    lutimesSync(path, Number(entry.mtime), Number(entry.mtime));
    remember(path, entry);
  }

  function finishDirectory(key: string, entry: TarEntry): void {
    const path = pathOf(key);
    if (chowns) lchownSync(path, entry.uid, entry.gid);
    chmodSync(path, entry.mode);
    lutimesSync(path, Number(entry.mtime), Number(entry.mtime));
    remember(path, entry);
  }

  async function settle(): Promise<void> {
    if (attributes.length === 0) return;
    setAttribute ??= await openAttributes();
    for (const one of attributes.splice(0)) {
      if (setAttribute(one)) continue;
      refused = { first: one, ...refused, count: refused.count + 1 };
    }
  }

  return {
    get refused() {
      return refused;
    },
    make(entry) {
      const key = keyOf(entry.path);
      const path = pathOf(key);
      if (entry.type === "directory") {
        makeDirectory(path);
        directories.set(key, entry);
        return;
      }
      directories.delete(key); // an empty one gives way
      if (entry.type === "symbolic link") symbolicLinks.add(key);
      if (entry.type === "file") openFile(entry, path);
      else if (entry.type === "symbolic link" || symbolicLinks.has(keyOf(entry.target))) {
        late.push(entry);
      } else insist(path, () => linkSync(pathOf(keyOf(entry.target)), path));
    },
    write(part) {
      if (!file) return;
      for (let at = 0; at < part.length; ) at += writeSync(file.descriptor, part, at);
      file.left -= part.length;
      finishFile(file);
    },
    settle,
    finish: async () => {
      for (const entry of late) makeLate(entry);
      for (const [key, entry] of directories) finishDirectory(key, entry);
      await settle();
    },
    close: () => {
      if (file) closeSync(file.descriptor);
      file = undefined;
    },
  };
}

/** Does it; where something is in the way, or its directory is not there yet, that is mended first. */
function insist<T>(path: Buffer, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") makeParents(path);
    else if (code === "EEXIST") remove(path);
    else throw error;
  }
  return work();
}

function makeDirectory(path: Buffer): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
  insist(path, () => mkdirSync(path, 0o755));
}

function makeParents(path: Buffer): void {
  mkdirSync(path.subarray(0, path.lastIndexOf("/")), { recursive: true, mode: 0o755 });
}

/** A directory only when nothing is in it. */
function remove(path: Buffer): void {
  if (lstatSync(path).isDirectory()) rmdirSync(path);
  else unlinkSync(path);
}
