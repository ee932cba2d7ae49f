/**
 * Files on disk, read once and shared by every transfer. A file that changed
 * (inode, size or time of change) is read again at the next open; transfers that
 * run keep the bytes they began with.
 *
 * Only regular files: a symbolic link, a device or a directory does not exist here.
 */

import { lstatSync, readFileSync, type Stats } from "node:fs";
import type { BootFile } from "./file.ts";

export interface FileCache {
  /** @param path - made by this program, never from the wire. Undefined when there is no such regular file. */
  open(path: string, name: string): BootFile | undefined;
  /** Like `open`, but the bytes stay on disk: the file is large, and HTTP streams it. */
  openLarge(path: string, name: string): BootFile | undefined;
}

/** Inode, size and time of change as text: equal as long as the file is the same. */
export function fileVersion(path: string): string | undefined {
  const stats = regularFile(path);
  return stats && versionOf(stats);
}

export function createFileCache(): FileCache {
  const cached = new Map<string, { readonly version: string; readonly file: BootFile }>();
  return {
    open(path, name) {
      const stats = regularFile(path);
      if (!stats) return void cached.delete(path);
      const version = versionOf(stats);
      const known = cached.get(path);
      if (known?.version === version) return known.file;
      const bytes = readFileSync(path);
      const file = bootFile(name, bytes, `"${version}"`);
      cached.set(path, { version, file });
      return file;
    },
    openLarge(path, name) {
      const stats = regularFile(path);
      if (!stats) return undefined;
      return {
        name,
        sizeBytes: stats.size,
        contentType: "application/octet-stream",
        etag: `"${versionOf(stats)}"`,
        path,
        bytes: () => readFileSync(path),
      };
    },
  };
}

export function bootFile(name: string, bytes: Uint8Array, etag: string): BootFile {
  return {
    name,
    sizeBytes: bytes.length,
    contentType: contentTypeOf(name),
    etag,
    bytes: () => bytes,
  };
}

/** Text rendered for one node; it may hold a secret, so it has no entity tag and is not cached by anyone. */
export function textFile(name: string, text: string): BootFile {
  const bytes = new TextEncoder().encode(text);
  return {
    name,
    sizeBytes: bytes.length,
    contentType: "text/plain; charset=utf-8",
    bytes: () => bytes,
  };
}

function contentTypeOf(name: string): string {
  return name.endsWith(".efi") ? "application/efi" : "application/octet-stream"; // RFC 9110 has no word for the rest
}

function regularFile(path: string): Stats | undefined {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats?.isFile() ? stats : undefined;
}

function versionOf(stats: Stats): string {
  return `${stats.ino.toString(36)}-${stats.size.toString(36)}-${Math.trunc(stats.mtimeMs * 1000).toString(36)}`;
}
