/**
 * The files all contenders serve: bytes nobody can compress or guess, of boot files' sizes.
 * They begin as an EFI program does: a simulated firmware looks.
 */

import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** One of the names our server's table has. */
export const bootFileName = "ipxe-x64.efi";
/** A kernel with its first stage; no multiple of any block, so the last one is short. */
export const bootFileBytes = 8 * 1024 * 1024 + 11;

/** A loader's size. */
export const smallFileName = "undionly.kpxe";
export const smallFileBytes = 64 * 1024;

/** Makes `<directory>/<bootFileName>`, in a directory that a peer can serve as it is. */
export function writeBootFile(directory: string): string {
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  return writeContent(join(directory, bootFileName), bootFileBytes);
}

export function writeContent(path: string, bytes: number): string {
  const blocks = Array.from({ length: Math.ceil(bytes / 64) }, (_, index) =>
    createHash("sha512").update(String(index)).digest(),
  );
  const content = Buffer.concat(blocks).subarray(0, bytes);
  content.write("MZ", "latin1");
  writeFileSync(path, content, { mode: 0o644 });
  return path;
}
