/**
 * One member of a tar archive, and what no archive of a root file system may hold.
 *
 * Pure. Names are octets, not always UTF-8: each is a text of one character per octet (latin1).
 */

export type TarType =
  | "file"
  | "link"
  | "symbolic link"
  | "character device"
  | "block device"
  | "directory"
  | "FIFO";

export interface TarEntry {
  readonly path: string;
  readonly type: TarType;
  /** Of a link of either kind; else empty. */
  readonly target: string;
  /** Up to 07777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since 1970, with their fraction if there is one. */
  readonly mtime: string;
  /** Octets of content that follow; of files only. */
  readonly size: number;
  /** Pax records of extended attributes: `SCHILY.xattr.security.capability`. */
  readonly attributes: ReadonlyMap<string, Buffer>;
}

/** An archive that breaks the format, or has what we refuse to read. */
export class TarError extends Error {
  override readonly name = "TarError";
}

export const specialTypes: ReadonlySet<TarType> = new Set([
  "character device",
  "block device",
  "FIFO",
]);

const maxEntries = 2_000_000;
const maxPathOctets = 4096; // PATH_MAX
const maxDepth = 128;

/** `./etc//hosts` and `etc/hosts` are one name. */
export function keyOf(path: string): string {
  return namesOf(path).join("/");
}

export function namesOf(path: string): readonly string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}

export interface EntryCheck {
  /** To be asked of each entry, in the order of the archive. */
  refusal(entry: TarEntry): string | undefined;
  isSymbolicLink(key: string): boolean;
}

/**
 * Refuses every entry that could write outside of the directory it is unpacked in: absolute names,
 * `..`, names that pass through a symbolic link of the same archive, hard links out.
 */
export function createEntryCheck(): EntryCheck {
  const symbolicLinks = new Set<string>();
  let count = 0;

  function reason({ path, type, target }: TarEntry): string | undefined {
    count++;
    if (count > maxEntries) return `the archive has more than ${maxEntries} entries`;
    const bad = badPath(path) ?? passing(path);
    if (bad) return bad;
    const key = keyOf(path);
    if (key === "" && type !== "directory") return "it replaces the root directory";
    if (type === "symbolic link") symbolicLinks.add(key);
    else if (symbolicLinks.has(key)) return "it replaces a symbolic link";
    if (type === "link") {
      const badTarget = badPath(target) ?? passing(target);
      return badTarget && `its hard link target ${quote(target)} ${badTarget}`;
    }
    if (type === "symbolic link" && target === "") return "it is a link without target";
    return undefined;
  }

  function passing(path: string): string | undefined {
    const names = namesOf(path);
    for (let depth = 1; depth < names.length; depth++) {
      const parent = names.slice(0, depth).join("/");
      if (symbolicLinks.has(parent)) return `passes through the symbolic link ${quote(parent)}`;
    }
    return undefined;
  }

  return {
    refusal(entry) {
      const why = reason(entry);
      return why && `tar entry ${quote(entry.path)} refused: ${why}`;
    },
    isSymbolicLink: (key) => symbolicLinks.has(key),
  };
}

function badPath(path: string): string | undefined {
  if (path === "") return "is empty";
  if (path.startsWith("/")) return "is absolute";
  if (path.length > maxPathOctets) return `is longer than ${maxPathOctets} octets`;
  if (path.includes("\0")) return "contains a NUL";
  const names = path.split("/");
  if (names.includes("..")) return "leads upwards";
  if (names.length > maxDepth) return `is deeper than ${maxDepth} directories`;
  return undefined;
}

/** For people: as UTF-8, cut to a line. */
export function quote(octets: string): string {
  const text = Buffer.from(octets, "latin1").toString();
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}
