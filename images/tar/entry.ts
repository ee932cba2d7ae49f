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

/** Of the pax records that hold extended attributes; the attribute's name follows. */
export const attributePrefix = "SCHILY.xattr.";

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
  const plain = path.startsWith("./") ? path.slice(2) : path;
  if (!/(?:^|\/)\.?(?:\/|$)/.test(plain)) return plain;
  const names = plain.split("/").filter((name) => name !== "" && name !== ".");
  return names.join("/");
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
  /** Found to pass through none, as all that lies in it. */
  let soundDirectory: string | undefined;
  let count = 0;

  function reason({ path, type, target }: TarEntry): string | undefined {
    count++;
    if (count > maxEntries) return `the archive has more than ${maxEntries} entries`;
    const key = keyOf(path);
    const bad = badPath(path) ?? passing(key);
    if (bad) return bad;
    if (key === "" && type !== "directory") return "it replaces the root directory";
    if (type === "symbolic link") {
      symbolicLinks.add(key);
      soundDirectory = undefined;
    } else if (symbolicLinks.has(key)) return "it replaces a symbolic link";
    if (type === "link") {
      const badTarget = badPath(target) ?? passing(keyOf(target));
      return badTarget && `its hard link target ${quote(target)} ${badTarget}`;
    }
    if (type === "symbolic link" && target === "") return "it is a link without target";
    return undefined;
  }

  function passing(key: string): string | undefined {
    const directory = key.slice(0, Math.max(key.lastIndexOf("/"), 0));
    if (directory === soundDirectory) return undefined;
    for (let end = key.indexOf("/"); end >= 0; end = key.indexOf("/", end + 1)) {
      const parent = key.slice(0, end);
      if (symbolicLinks.has(parent)) return `passes through the symbolic link ${quote(parent)}`;
    }
    soundDirectory = directory;
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
