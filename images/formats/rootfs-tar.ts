/**
 * A root file system as tar (POSIX ustar or pax, or GNU).
 *
 * Refused is every entry that could write outside the directory it is unpacked in (tar/entry.ts),
 * and what an OS's files do not need: block devices, FIFOs, other devices outside of dev. The
 * archive must be whole, its end marker included. The agent reads it by the same reader.
 */

import { ImageInvalidError } from "../../server/errors.ts";
import { createEntryCheck, keyOf, quote, type TarEntry } from "../tar/entry.ts";
import { createTarReader } from "../tar/reader.ts";
import type { Format, FormatCheck } from "./format.ts";

const block = 512; // octets
/** "ustar" of both POSIX and GNU headers. */
const magicAt = 257;
const magic = "7573746172";
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
  let hasRelease = false;
  const check = createEntryCheck();
  const reader = createTarReader({
    entry: (entry) => {
      const why = check.refusal(entry) ?? needless(entry);
      if (why) throw new ImageInvalidError(why);
      if (releaseFiles.has(keyOf(entry.path))) hasRelease = true;
    },
    content: () => undefined,
  });
  const feed = (bytes: Uint8Array) => {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    refusing(() => checkPadding(chunk.subarray(reader.write(chunk))));
  };
  return {
    write(bytes) {
      if (length < block) head.set(bytes.subarray(0, block - length), length);
      const had = length;
      length += bytes.length;
      if (length < block) return;
      if (had >= block) return feed(bytes);
      if (!hasMagic(head)) throw new ImageInvalidError("not a tar archive of the ustar family");
      feed(head);
      feed(bytes.subarray(block - had));
    },
    end() {
      if (length < block) throw new ImageInvalidError("not a tar archive: it has no header");
      refusing(() => reader.end());
      if (!hasRelease) {
        throw new ImageInvalidError("tar archive has no etc/os-release: not a root file system");
      }
    },
  };
}

function refusing(work: () => void): void {
  try {
    work();
  } catch (cause) {
    if (cause instanceof ImageInvalidError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ImageInvalidError(`tar archive refused: ${reason}`, { cause });
  }
}

/** After the end marker there may be zeros up to the record size (POSIX: 20 blocks), nothing else. */
function checkPadding(bytes: Uint8Array): void {
  if (bytes.every((octet) => octet === 0)) return;
  throw new ImageInvalidError("tar archive goes on after its end marker");
}

function needless({ path, type }: TarEntry): string | undefined {
  const isOfDev = keyOf(path).startsWith("dev/"); // a minimal one, as mmdebstrap leaves it; it is not unpacked
  if (type === "block device" || type === "FIFO" || (type === "character device" && !isOfDev)) {
    return `tar entry ${quote(path)} refused: a ${type} has no place in an image`;
  }
  return undefined;
}
