/**
 * E56: a node with little memory, whose file systems in memory are full, installs an image that is
 * larger than both: it is never held as a whole, anywhere. Root is needed for mounts of its own.
 */

import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  createReadStream,
  createWriteStream,
  mkdirSync,
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
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { createZstdCompress } from "node:zlib";
import test, { type ExecutionContext } from "ava";
import { parseImageDigest } from "#protocol/brand.ts";
import type { ImageManifest } from "#protocol/image.ts";
import { makeGpt, partitionTypes } from "../../netinst/partition-table.ts";

const lab = process.getuid?.() === 0 ? test : test.skip;
if (process.getuid?.() !== 0) console.warn("skipped: mounts of its own need root");

const mebibyte = 1 << 20;
const pieces = 272;
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

const { head } = makeGpt(pieces * mebibyte, [
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

function pieceAt(path: string, piece: number): Buffer {
  const octets = Buffer.alloc(mebibyte);
  readSync(openSync(path, "r"), octets, 0, mebibyte, piece * mebibyte);
  return octets;
}

type Stream = () => Readable;
type Form = Pick<ImageManifest, "format" | "compression">;

async function measure(stream: Stream) {
  const hash = createHash("sha256");
  let octets = 0;
  for await (const part of stream() as AsyncIterable<Buffer>) {
    hash.update(part);
    octets += part.length;
  }
  return { octets, digest: hash.digest("hex") };
}

/** Has a node without room write what `stored` is of `plain`; returns by how many kB its agent grew. */
async function growthOf(
  t: ExecutionContext,
  form: Form,
  plain: Stream,
  stored: Stream,
  target: string,
): Promise<number> {
  const server = createServer((_request, response) => void stored().pipe(response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => void server.close());
  const [whole, packed] = [await measure(plain), await measure(stored)];
  const manifest: ImageManifest = {
    ...{ version: 1, name: "large", architecture: "amd64", bootloader: "none", ...form },
    ...{ digest: parseImageDigest(whole.digest), sizeBytes: whole.octets },
    ...{ storedBytes: packed.octets, storedDigest: packed.digest },
  };
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const words = [process.execPath, ...flags, child, url, JSON.stringify(manifest), target];
  const { stdout } = await promisify(execFile)("unshare", [
    ...["--mount", "sh", "-c", withoutRoom, "sh", ...words],
  ]);
  const { before, peak } = JSON.parse(stdout) as { before: number; peak: number };
  t.log(`${before} kB before, ${peak} kB at most`);
  return peak - before;
}

/** On a disk, where all others are file systems in memory. */
function onDisk(t: ExecutionContext): string {
  const directory = mkdtempSync("/var/tmp/marcoboot-memory-");
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const plainDisk = () => Readable.from(imagePieces());

for (const compression of ["none", "zstd"] as const) {
  lab(
    `E56: a disk image of ${pieces} MiB, compression ${compression}, without room in memory`,
    async (t) => {
      const disk = join(onDisk(t), "disk");
      writeFileSync(disk, "");
      truncateSync(disk, 512 * mebibyte);
      const packed = createZstdCompress() as AsyncIterable<Buffer> & NodeJS.ReadWriteStream;
      const parts = compression === "none" ? [] : await Array.fromAsync(plainDisk().pipe(packed));
      const stored = compression === "none" ? plainDisk : () => Readable.from(parts);
      const growth = await growthOf(t, { format: "raw", compression }, plainDisk, stored, disk);
      t.true(growth < mostGrowth, `it grew by ${growth} kB`);
      t.true(pieceAt(disk, 200).equals([...imagePieces()][200] as Buffer));
      t.is(statSync(disk).size, 512 * mebibyte);
    },
  );
}

lab(`E56: a root file system with a file of ${pieces} MiB, without room in memory`, async (t) => {
  const directory = onDisk(t);
  const [tree, target, archive] = ["tree", "target", "tree.tar"].map((name) =>
    join(directory, name),
  ) as [string, string, string];
  for (const one of [join(tree, "etc"), target]) mkdirSync(one, { recursive: true });
  writeFileSync(join(tree, "etc/os-release"), "ID=large\n");
  await pipeline(plainDisk(), createWriteStream(join(tree, "large")));
  execFileSync("tar", ["--format=pax", "-C", tree, "-cf", archive, "."]);
  const stream = () => createReadStream(archive);
  const form = { format: "rootfs-tar", compression: "none" } as const;
  const growth = await growthOf(t, form, stream, stream, target);
  t.true(growth < mostGrowth, `it grew by ${growth} kB`);
  t.true(pieceAt(join(target, "large"), 200).equals([...imagePieces()][200] as Buffer));
});
