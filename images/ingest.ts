/**
 * Takes a file into the library: one pass that copies it, hashes it as stored
 * and as plain bytes, and checks its format. It holds a few megabytes at most.
 * Runs in a process of its own (worker.ts): an image is untrusted input and
 * hashing one would delay every DHCP and TFTP reply.
 */

import { createHash, type Hash } from "node:crypto";
import { type FileHandle, link, open } from "node:fs/promises";
import type { Compression, ImageFormat } from "#protocol/image.ts";
import {
  ImageDigestError,
  ImageInvalidError,
  ProvisionError,
  UnavailableError,
} from "../server/errors.ts";
import { decompress, detectCompression, magicBytes } from "./compression.ts";
import type { FormatCheck } from "./formats/format.ts";
import { detectFormat, formatHeadBytes, formats } from "./formats/registry.ts";
import { extractPiBoot } from "./pi-boot-files.ts";
import { startRootSearch } from "./root-search.ts";

export interface IngestRequest {
  readonly path: string;
  /** Where the copy goes; must not exist. */
  readonly target: string;
  /** The file is ours and on the same file system: it is linked, not copied. */
  readonly isOurs?: true;
  /** Absent: found out from the first bytes. */
  readonly format?: ImageFormat;
  /** Where the boot files of a Raspberry Pi go, if they are wanted. */
  readonly bootFiles?: string;
  /** sha-256 in hex that the file, as it is or unpacked, must have. */
  readonly expectedDigest?: string;
}

export interface Ingested {
  readonly format: ImageFormat;
  readonly compression: Compression;
  /** sha-256 in hex, and length, of the plain bytes and of the bytes as stored. */
  readonly digest: string;
  readonly sizeBytes: number;
  readonly storedDigest: string;
  readonly storedBytes: number;
}

const readBytes = 1 << 20;
/** A bomb unpacks for ever: no disk of a node is larger. */
const maxPlainBytes = 2 ** 44; // 16 TiB

/**
 * Returns when the copy is on stable storage, read-only.
 *
 * @param onProgress - percent of the file read, at most once per percent
 * @throws ImageInvalidError, ImageDigestError, UnavailableError; a part of the
 *   copy may be left at `target`
 */
export async function ingest(
  request: IngestRequest,
  onProgress: (percent: number) => void,
): Promise<Ingested> {
  try {
    await using source = await open(request.path, "r");
    const status = await source.stat();
    if (!status.isFile()) throw new ImageInvalidError(`${request.path} is not a file`);
    if (status.size === 0) throw new ImageInvalidError(`${request.path} is empty`);
    if (request.isOurs) await link(request.path, request.target);
    await using copy = await open(request.target, request.isOurs ? "r" : "wx", 0o600);
    const ingested = await stream(source, copy, status.size, request, onProgress);
    checkDigest(ingested, request.expectedDigest);
    await copy.chmod(0o444);
    await copy.sync();
    if (request.bootFiles !== undefined && ingested.format === "rootfs-tar") {
      const { compression } = ingested;
      await extractPiBoot({ path: request.target, compression }, request.bootFiles);
    }
    return ingested;
  } catch (cause) {
    throw asProvisionError(cause, request.path);
  }
}

async function stream(
  source: FileHandle,
  copy: FileHandle,
  size: number,
  request: IngestRequest,
  onProgress: (percent: number) => void,
): Promise<Ingested> {
  const head = new Uint8Array(magicBytes);
  await source.read(head, 0, magicBytes, 0);
  // A file arrives as it was pushed, packed or not.
  const compression = request.format === "file" ? "none" : detectCompression(head);
  const keep = request.isOurs ? undefined : (chunk: Buffer) => copy.writeFile(chunk);
  const stored = createHash("sha256");
  let storedBytes = 0;
  let percent = -1;
  const plain = createPlainSide(request);
  async function* copied(): AsyncGenerator<Buffer, void> {
    const chunks = source.createReadStream({
      start: 0,
      highWaterMark: readBytes,
      autoClose: false,
    });
    for await (const chunk of chunks as AsyncIterable<Buffer>) {
      stored.update(chunk);
      await keep?.(chunk); // at the handle's position, the whole chunk
      storedBytes += chunk.length;
      const now = Math.min(100, Math.floor((storedBytes / size) * 100));
      if (now > percent) onProgress(now);
      percent = now;
      yield chunk;
    }
  }
  for await (const chunk of decompress(compression, copied())) plain.write(chunk);
  return { ...plain.end(), compression, storedDigest: stored.digest("hex"), storedBytes };
}

/** What is learned from the plain bytes: digest, length, and that the format is right. */
function createPlainSide({ format: wanted, isOurs }: IngestRequest) {
  const digest: Hash = createHash("sha256");
  let sizeBytes = 0;
  let held: Buffer[] = []; // until the format is known
  let known: { readonly format: ImageFormat; readonly checks: readonly FormatCheck[] } | undefined;

  const decide = () => {
    const head = Buffer.concat(held);
    held = [];
    const format = wanted ?? detectFormat(head);
    if (!format) {
      throw new ImageInvalidError(
        "neither a disk image (no boot signature 55aa in sector 0) nor a tar archive",
      );
    }
    const checks = [formats[format].startCheck()];
    // The copy of a node's disk is kept, whatever is on it.
    if (format === "raw" && !isOurs) checks.push(startRootSearch());
    for (const check of checks) check.write(head);
    known = { format, checks };
    return known;
  };

  return {
    write(chunk: Buffer) {
      digest.update(chunk);
      sizeBytes += chunk.length;
      if (sizeBytes > maxPlainBytes) {
        throw new ImageInvalidError(`unpacks to more than ${maxPlainBytes} octets`);
      }
      if (known) {
        for (const check of known.checks) check.write(chunk);
        return;
      }
      held.push(chunk);
      if (sizeBytes >= formatHeadBytes) decide();
    },
    end() {
      const { format, checks } = known ?? decide();
      for (const check of checks) check.end();
      return { format, digest: digest.digest("hex"), sizeBytes };
    },
  };
}

function checkDigest(ingested: Ingested, expected: string | undefined): void {
  if (expected === undefined) return;
  if (expected === ingested.digest || expected === ingested.storedDigest) return;
  throw new ImageDigestError(
    `expected sha-256 ${expected}, but the file has ${ingested.storedDigest} and unpacked ${ingested.digest}`,
  );
}

function asProvisionError(cause: unknown, path: string): ProvisionError {
  if (cause instanceof ProvisionError) return cause;
  const { code = "", message = String(cause) } = cause as NodeJS.ErrnoException;
  if (/^(?:Z_|ZSTD_|ERR_BUFFER)/.test(code)) {
    return new ImageInvalidError(`compressed data is damaged or cut off: ${message}`, { cause });
  }
  if (code === "ENOENT") return new ImageInvalidError(`${path} does not exist`, { cause });
  return new UnavailableError(`image cannot be stored: ${message}`, { cause });
}
