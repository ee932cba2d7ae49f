/**
 * Recognises and undoes the compressions an image may come in, as streams.
 * gzip (RFC 1952) and zstd (RFC 8878) by node:zlib, xz by the `xz` program.
 */

import { spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import type { Compression } from "#protocol/image.ts";
import { ImageInvalidError, UnavailableError } from "../server/errors.ts";

/** Octets of the beginning that tell the compression. */
export const magicBytes = 6;

const magics: readonly (readonly [Compression, string])[] = [
  ["gzip", "1f8b08"],
  ["xz", "fd377a585a00"],
  ["zstd", "28b52ffd"],
];

export function detectCompression(head: Uint8Array): Compression {
  const start = head.subarray(0, magicBytes).toHex();
  return magics.find(([, magic]) => start.startsWith(magic))?.[0] ?? "none";
}

/** The plain bytes of `source`. @throws an error of zlib, or ImageInvalidError, when they are damaged or cut off. */
export function decompress(
  compression: Compression,
  source: AsyncIterable<Buffer>,
): AsyncIterable<Buffer> {
  switch (compression) {
    case "none":
      return source;
    case "gzip":
      return through(createGunzip(), source);
    case "zstd":
      return through(createZstdDecompress(), source);
    case "xz":
      return throughXz(source);
  }
}

async function* through(
  transform: Duplex,
  source: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer, void> {
  const fed = pipeline(source, transform);
  fed.catch(() => undefined); // the transform is destroyed by the same error, and throws it below
  yield* transform as AsyncIterable<Buffer>;
  await fed;
}

/** What xz may allocate: `xz -9` needs 65 MiB to unpack, a hostile header could ask for 4 GiB. */
const xzMemoryLimit = "512MiB";

async function* throughXz(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  const child = spawn(
    "xz",
    ["--decompress", "--stdout", "--no-warn", `--memlimit-decompress=${xzMemoryLimit}`],
    { stdio: ["pipe", "pipe", "pipe"] },
  );
  let complaint = "";
  child.stderr.setEncoding("utf8");
  child.stderr.on("data", (text: string) => {
    complaint = (complaint + text).slice(0, 500);
  });
  const ended = new Promise<void>((resolve, reject) => {
    child.on("error", (cause) =>
      reject(new UnavailableError("the program xz cannot be run: install xz-utils", { cause })),
    );
    child.on("close", (code, signal) => {
      if (code === 0) resolve();
      else reject(new ImageInvalidError(`xz: ${complaint.trim() || `ended by ${signal ?? code}`}`));
    });
  });
  ended.catch(() => undefined); // awaited below, unless the reader stops before
  let unfed: unknown;
  pipeline(source, child.stdin).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") unfed = error; // EPIPE: xz gave up, and says why
  });
  try {
    yield* child.stdout as AsyncIterable<Buffer>;
    await ended.catch((error: unknown) => {
      throw unfed ?? error;
    });
  } finally {
    child.kill("SIGKILL");
  }
}
