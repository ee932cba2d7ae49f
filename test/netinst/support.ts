/** A site, its signatures and an image server for tests of the agent. */

import { spawnSync } from "node:child_process";
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { parseImageDigest } from "#protocol/brand.ts";
import type { Compression, ImageManifest } from "#protocol/image.ts";
import type { Console } from "../../netinst/console.ts";
import type { TargetDisk } from "../../netinst/disk.ts";

export interface TestKey {
  /** base64 of the raw key, as site.json has it. */
  readonly pinned: string;
  readonly id: string;
  sign(text: string): string;
}

export function makeKey(): TestKey {
  const { publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject } =
    generateKeyPairSync("ed25519");
  const raw = Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url");
  return {
    pinned: raw.toString("base64"),
    id: createHash("sha256").update(raw).digest("hex").slice(0, 16),
    sign: (text) => sign(null, Buffer.from(text), privateKey).toString("base64"),
  };
}

export interface RecordedConsole extends Console {
  readonly lines: string[];
}

export function recordConsole(): RecordedConsole {
  const lines: string[] = [];
  const say = (text: string) => void lines.push(text);
  return { lines, info: say, warn: say, take: () => [] };
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function compress(plain: Buffer, compression: Compression): Buffer {
  switch (compression) {
    case "none":
      return plain;
    case "gzip":
      return gzipSync(plain, { level: 1 });
    case "zstd":
      return zstdCompressSync(plain);
    case "xz":
      return spawnSync("xz", ["-0c"], { input: plain, maxBuffer: 1 << 28 }).stdout;
  }
}

export function describeImage(
  plain: Buffer,
  stored: Buffer,
  compression: Compression,
): ImageManifest {
  return {
    version: 1,
    name: "test image",
    architecture: "amd64",
    format: "raw",
    compression,
    digest: parseImageDigest(sha256(plain)),
    sizeBytes: plain.length,
    storedBytes: stored.length,
    storedDigest: sha256(stored),
    bootloader: "grub",
  };
}

export interface ImageServer {
  readonly url: string;
  /** `Range` header of each request, in order. */
  readonly ranges: (string | undefined)[];
  /** Octets of the image that were handed out. */
  sent(): number;
  close(): Promise<void>;
}

/**
 * @param cutAfter - octets after which the first connection is broken
 * @param isAway - from then on: whether connections are broken before anything is answered
 */
export async function serveImage(
  stored: Buffer,
  cutAfter?: number,
  isAway: () => boolean = () => false,
): Promise<ImageServer> {
  const ranges: (string | undefined)[] = [];
  let sent = 0;
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    if (ranges.length > 0 && isAway()) {
      request.socket.destroy();
      return;
    }
    if (request.headers.authorization !== "Bearer good-ticket") {
      response.writeHead(401).end();
      return;
    }
    const { range } = request.headers;
    ranges.push(range);
    const start = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
    response.writeHead(range === undefined ? 200 : 206, {
      "content-length": stored.length - start,
      ...(range === undefined
        ? {}
        : { "content-range": `bytes ${start}-${stored.length - 1}/${stored.length}` }),
    });
    if (cutAfter !== undefined && ranges.length === 1) {
      sent += cutAfter;
      response.write(stored.subarray(0, cutAfter), () => response.socket?.destroy());
      return;
    }
    sent += stored.length - start;
    response.end(stored.subarray(start));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/images/x`,
    ranges,
    sent: () => sent,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

export interface RecordedDisk extends TargetDisk {
  readonly bytes: Buffer;
  /** `write <from>-<to>` and `flush`, in order. */
  readonly log: string[];
}

/** A disk in memory that was in use before: nothing on it is zero. */
export function memoryDisk(sizeBytes: number): RecordedDisk {
  const bytes = Buffer.alloc(sizeBytes, 0xa5);
  const log: string[] = [];
  return {
    path: "memory",
    sizeBytes,
    bytes,
    log,
    write: async (part, position) => {
      log.push(`write ${position}-${position + part.length}`);
      bytes.set(part, position);
    },
    read: async (position, length) => Buffer.from(bytes.subarray(position, position + length)),
    flush: async () => void log.push("flush"),
    dropCaches: async () => void log.push("drop"),
    close: async () => {},
  };
}
