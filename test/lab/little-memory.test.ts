/**
 * E56: a node with little memory, whose file systems in memory are full, installs an image that is
 * larger than both: it is never held as a whole, anywhere. Root is needed for mounts of its own.
 */

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import { createZstdCompress } from "node:zlib";
import test from "ava";
import { parseImageDigest } from "#protocol/brand.ts";
import type { ImageManifest } from "#protocol/image.ts";
import { makeGpt, partitionTypes } from "../../netinst/partition-table.ts";

const lab = process.getuid?.() === 0 ? test : test.skip;
if (process.getuid?.() !== 0) console.warn("skipped: mounts of its own need root");

const mebibyte = 1 << 20;
const pieces = 272;
const imageOctets = pieces * mebibyte;
/** Of a node with 256 MB some 105 MiB are free when its agent runs. */
const mostGrowth = 48 * 1024;
/** As netinst/initramfs/run starts the agent. */
const flags = ["--max-semi-space-size=1", "--max-old-space-size=48"];
const child = join(import.meta.dirname, "little-memory-child.ts");
/** Every file system in memory that a node has, and not an octet of room in any. */
const withoutRoom = `
  for place in /tmp /run /dev/shm; do
    mount -t tmpfs -o size=64k tmpfs $place
    cat /dev/zero > $place/full 2> /dev/null
  done
  exec "$@"`;

const { head } = makeGpt(imageOctets, [
  { type: partitionTypes.linux, name: "root", offset: mebibyte, length: 256 * mebibyte },
]);

/** MiB after MiB, none like the one before, with a partition table in the first. */
function* imagePieces(): Generator<Buffer, void> {
  for (let piece = 0; piece < pieces; piece++) {
    const octets = Buffer.alloc(mebibyte, createHash("sha256").update(`${piece}`).digest());
    if (piece === 0) head.copy(octets, 0, 0, 34 * 512);
    yield octets;
  }
}

async function measure(packed: () => AsyncIterable<Buffer>) {
  const hash = createHash("sha256");
  let octets = 0;
  for await (const part of packed()) {
    hash.update(part);
    octets += part.length;
  }
  return { octets, digest: hash.digest("hex") };
}

const plain = () => Readable.from(imagePieces());
const sources = [
  ["none", async () => plain],
  [
    "zstd",
    async () => {
      const packed = await Array.fromAsync(
        plain().pipe(createZstdCompress()) as AsyncIterable<Buffer>,
      );
      return () => Readable.from(packed);
    },
  ],
] as const;

for (const [compression, pack] of sources) {
  lab(
    `E56: an image of ${pieces} MiB, compression ${compression}, without room in memory`,
    async (t) => {
      const directory = mkdtempSync("/var/tmp/marcoboot-memory-"); // no file system in memory
      t.teardown(() => rmSync(directory, { recursive: true, force: true }));
      const disk = join(directory, "disk");
      const packed = await pack();
      writeFileSync(disk, "");
      truncateSync(disk, 512 * mebibyte);
      const server = createServer((_request, response) => void packed().pipe(response));
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      t.teardown(() => void server.close());
      const unpacked = await measure(plain);
      const stored = compression === "none" ? unpacked : await measure(packed);
      const manifest: ImageManifest = {
        ...{ version: 1, name: "large", architecture: "amd64", format: "raw", compression },
        ...{
          digest: parseImageDigest(unpacked.digest),
          sizeBytes: imageOctets,
          bootloader: "none",
        },
        ...{ storedBytes: stored.octets, storedDigest: stored.digest },
      };
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
      const words = [...flags, child, url, JSON.stringify(manifest), disk];
      const { stdout } = await promisify(execFile)("unshare", [
        ...["--mount", "sh", "-c", withoutRoom, "sh", process.execPath, ...words],
      ]);
      const { before, peak } = JSON.parse(stdout) as { before: number; peak: number };
      t.log(`${before} kB before, ${peak} kB at most`);
      t.true(peak - before < mostGrowth, `it grew by ${peak - before} kB`);
      const last = Buffer.alloc(mebibyte);
      readSync(openSync(disk, "r"), last, 0, mebibyte, 200 * mebibyte);
      t.true(last.equals([...imagePieces()][200] as Buffer));
      t.is(statSync(disk).size, 512 * mebibyte);
    },
  );
}
