/**
 * An initramfs archive: cpio "newc" (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
 *
 *   "070701" + 13 fields of 8 hex digits | name NUL | pad to 4 | content | pad to 4 | … | TRAILER!!!
 *
 * Owner 0:0 and time 0 everywhere, inode numbers counted: equal input gives equal bytes.
 */

export type CpioEntry =
  | { readonly kind: "directory"; readonly path: string }
  | { readonly kind: "link"; readonly path: string; readonly target: string }
  | {
      readonly kind: "file";
      readonly path: string;
      readonly content: Uint8Array;
      readonly executable?: boolean;
    };

const modes = { directory: 0o040755, link: 0o120777, file: 0o100644, executable: 0o100755 };

/** Paths are relative, without leading slash; a directory comes before what it holds. */
export function packCpio(entries: readonly CpioEntry[]): Buffer {
  const parts = entries.flatMap((entry, index) =>
    member(entry.path, modeOf(entry), contentOf(entry), index + 1),
  );
  return Buffer.concat([...parts, ...member("TRAILER!!!", 0, Buffer.alloc(0), 0)]);
}

function modeOf(entry: CpioEntry): number {
  return entry.kind === "file" && entry.executable ? modes.executable : modes[entry.kind];
}

function contentOf(entry: CpioEntry): Uint8Array {
  switch (entry.kind) {
    case "file":
      return entry.content;
    case "link":
      return Buffer.from(entry.target);
    case "directory":
      return Buffer.alloc(0);
  }
}

function member(path: string, mode: number, content: Uint8Array, inode: number): Uint8Array[] {
  const name = Buffer.from(`${path}\0`);
  const links = (mode & 0o170000) === modes.directory - 0o755 ? 2 : 1;
  // inode mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
  const fields = [inode, mode, 0, 0, links, 0, content.length, 0, 0, 0, 0, name.length, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`;
  const head = Buffer.concat([Buffer.from(header), name]);
  return [head, padding(head.length), content, padding(content.length)];
}

/** Zeros that bring `length` to a multiple of 4: archives that follow each other begin there. */
export function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}
