/**
 * A root file system as tar (POSIX ustar or pax, or GNU).
 *
 * Refused is every entry that could write outside the directory it is unpacked
 * in, or that an OS's files do not need: absolute names, `..`, names that pass
 * through a symbolic link of the same archive, hard links out, block devices and
 * FIFOs. The archive must be whole, its end marker included.
 */

import { Parser, type ReadEntry } from "tar";
import { ImageInvalidError } from "../../server/errors.ts";
import type { Format, FormatCheck } from "./format.ts";

const block = 512; // octets
/** "ustar" of both POSIX and GNU headers. */
const magicAt = 257;
const magic = "7573746172";
const maxEntries = 2_000_000;
const maxPathOctets = 4096; // PATH_MAX
const maxDepth = 128;
/** One of them must be there: an archive without is no root file system. */
const releaseFiles: ReadonlySet<string> = new Set(["etc/os-release", "usr/lib/os-release"]);

export const rootfsTar: Format = {
  headBytes: block,
  matches: hasMagic,
  startCheck,
};

function hasMagic(head: Uint8Array): boolean {
  return head.subarray(magicAt, magicAt + magic.length / 2).toHex() === magic;
}

function startCheck(): FormatCheck {
  const head = new Uint8Array(block);
  let length = 0;
  let whole = false;
  let problem: ImageInvalidError | undefined;
  const entries = createEntryCheck();
  // Strict: the parser fails where it would otherwise leave out what it cannot read.
  const parser = new Parser({
    strict: true,
    onReadEntry: (entry) => {
      problem ??= entries.refusal(entry);
      entry.resume();
    },
  });
  parser.on("eof", () => {
    whole = true;
  });
  parser.on("error", (cause: unknown) => {
    problem ??= new ImageInvalidError(`tar archive refused: ${reasonOf(cause)}`, { cause });
  });
  const feed = (work: () => void) => {
    try {
      work();
    } catch (cause) {
      problem ??= new ImageInvalidError(`tar archive refused: ${reasonOf(cause)}`, { cause });
    }
    if (problem) throw problem;
  };

  return {
    write(bytes) {
      if (length < block) head.set(bytes.subarray(0, block - length), length);
      const had = length;
      length += bytes.length;
      if (length < block) return;
      if (whole) return checkPadding(bytes);
      // The parser would itself unpack compressed bytes: it gets only what begins as tar.
      if (had < block) {
        if (!hasMagic(head)) throw new ImageInvalidError("not a tar archive of the ustar family");
        feed(() => void parser.write(Buffer.from(head)));
        const rest = bytes.subarray(block - had);
        if (rest.length > 0) feed(() => void parser.write(Buffer.from(rest)));
        return;
      }
      feed(() => void parser.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)));
    },
    end() {
      feed(() => void parser.end());
      if (!whole) throw new ImageInvalidError("tar archive is cut off: it has no end marker");
      if (!entries.hasRelease()) {
        throw new ImageInvalidError("tar archive has no etc/os-release: not a root file system");
      }
    },
  };
}

/** After the end marker there may be zeros up to the record size (POSIX: 20 blocks), nothing else. */
function checkPadding(bytes: Uint8Array): void {
  if (bytes.every((octet) => octet === 0)) return;
  throw new ImageInvalidError("tar archive goes on after its end marker");
}

interface EntryCheck {
  refusal(entry: ReadEntry): ImageInvalidError | undefined;
  hasRelease(): boolean;
}

function createEntryCheck(): EntryCheck {
  const symbolicLinks = new Set<string>();
  let count = 0;
  let release = false;

  function reason(entry: ReadEntry): string | undefined {
    const bad = badPath(entry.path);
    if (bad) return bad;
    const names = namesOf(entry.path);
    for (let depth = 1; depth < names.length; depth++) {
      const parent = names.slice(0, depth).join("/");
      if (symbolicLinks.has(parent)) return `passes through the symbolic link ${quote(parent)}`;
    }
    return badType(entry, names);
  }

  return {
    refusal(entry) {
      count++;
      if (count > maxEntries) return new ImageInvalidError(`more than ${maxEntries} entries`);
      const why = reason(entry);
      if (why) return new ImageInvalidError(`tar entry ${quote(entry.path)} refused: ${why}`);
      const path = namesOf(entry.path).join("/");
      if (releaseFiles.has(path)) release = true;
      if (entry.type === "SymbolicLink") symbolicLinks.add(path);
      else if (symbolicLinks.has(path)) {
        return new ImageInvalidError(
          `tar entry ${quote(entry.path)} refused: it replaces a symbolic link`,
        );
      }
      return undefined;
    },
    hasRelease: () => release,
  };
}

function badType(entry: ReadEntry, names: readonly string[]): string | undefined {
  switch (entry.type) {
    case "File":
    case "OldFile":
    case "ContiguousFile":
    case "Directory":
    case "SymbolicLink": // its target may be absolute: it is one inside the installed OS
      return undefined;
    case "Link": {
      const bad = badPath(entry.linkpath ?? "");
      return bad && `its hard link target ${quote(entry.linkpath ?? "")} ${bad}`;
    }
    case "CharacterDevice": // a minimal /dev, as mmdebstrap leaves it; nothing of it is unpacked
      return names[0] === "dev" ? undefined : "a character device outside dev";
    default:
      return `type ${entry.type} is not allowed`;
  }
}

function badPath(path: string): string | undefined {
  if (path === "") return "is empty";
  if (path.startsWith("/")) return "is absolute";
  if (Buffer.byteLength(path) > maxPathOctets) return `is longer than ${maxPathOctets} octets`;
  if (path.includes("\0")) return "contains a NUL";
  const names = path.split("/");
  if (names.includes("..")) return "leads upwards";
  if (names.length > maxDepth) return `is deeper than ${maxDepth} directories`;
  return undefined;
}

/** `./etc//hosts` and `etc/hosts` are one name. */
function namesOf(path: string): readonly string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}

function quote(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
