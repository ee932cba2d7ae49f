/**
 * A cpio archive in the "newc" format, as the kernel unpacks it for an initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst in the kernel).
 *
 *   +-------------+--------------+-----+--------------+-----+
 *   | header (110)| name, 0      | pad | content      | pad |  repeated, the last
 *   +-------------+--------------+-----+--------------+-----+  named TRAILER!!!
 *     6 "070701", 13 numbers of 8 hex digits    pad: zeros to a multiple of 4
 *
 * Uncompressed and equal for equal input: no times, no owners, counted inodes.
 */

export interface CpioEntry {
  /** Relative, no leading slash: `etc/marcoboot/site.json`. Its directories are added. */
  readonly name: string;
  readonly content: Uint8Array;
}

const directoryMode = 0o040755;
const fileMode = 0o100644;
const nothing = new Uint8Array(0);
const text = new TextEncoder();

/** Length is a multiple of 4, so archives can follow each other. */
export function packCpio(entries: readonly CpioEntry[]): Uint8Array {
  const directories = new Set(entries.flatMap(({ name }) => parents(name)));
  let inode = 0;
  const parts = [
    ...[...directories].map((name) => record(name, directoryMode, ++inode, nothing)),
    ...entries.map(({ name, content }) => record(name, fileMode, ++inode, content)),
    record("TRAILER!!!", 0, 0, nothing),
  ];
  return Buffer.concat(parts);
}

/** Zeros that bring `length` to a multiple of 4. */
export function padding(length: number): Uint8Array {
  return new Uint8Array((4 - (length % 4)) % 4);
}

/** `a/b/c` gives `a`, `a/b`. */
function parents(name: string): string[] {
  const steps = name.split("/").slice(0, -1);
  return steps.map((_, at) => steps.slice(0, at + 1).join("/"));
}

function record(name: string, mode: number, inode: number, content: Uint8Array): Uint8Array {
  const nameBytes = text.encode(`${name}\0`);
  const links = mode === directoryMode ? 2 : 1;
  const numbers = [
    ...[inode, mode, 0, 0, links, 0, content.length], // inode, mode, uid, gid, links, mtime, size
    ...[0, 0, 0, 0, nameBytes.length, 0], // device (2), special device (2), name length, checksum
  ];
  const header = text.encode(`070701${numbers.map(eightDigits).join("")}`);
  const head = Buffer.concat([header, nameBytes]);
  return Buffer.concat([head, padding(head.length), content, padding(content.length)]);
}

function eightDigits(value: number): string {
  return value.toString(16).padStart(8, "0");
}
