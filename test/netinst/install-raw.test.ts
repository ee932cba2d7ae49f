import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { parseImageDigest } from "#protocol/brand.ts";
import { compressions, type ImageManifest } from "#protocol/image.ts";
import { chooseDisk, openDisk } from "../../netinst/disk.ts";
import {
  AttemptEndedError,
  DiskError,
  InstallRefusedError,
  NetworkError,
} from "../../netinst/errors.ts";
import { growLastPartition, makeGpt, partitionTypes } from "../../netinst/partition-table.ts";
import { installRaw } from "../../netinst/steps/install-raw.ts";
import type { Time } from "../../netinst/wait.ts";
import {
  compress,
  describeImage,
  memoryDisk,
  type RecordedDisk,
  recordConsole,
  serveImage,
  sha256,
} from "./support.ts";

const mebibyte = 1 << 20;
const imageSize = 5 * mebibyte + 512 * 3;

/** A disk image with a GPT, noise as content, and a backup GPT at its end. */
function makeImage(): Buffer {
  const image = Buffer.concat([
    randomBytes(mebibyte),
    Buffer.alloc(mebibyte),
    randomBytes(imageSize - 2 * mebibyte),
  ]);
  const { head, backup } = makeGpt(imageSize, [
    { type: partitionTypes.linux, name: "root", offset: mebibyte, length: 4 * mebibyte },
  ]);
  head.copy(image, 0, 0, 34 * 512);
  backup.copy(image, imageSize - backup.length);
  return image;
}

const image = makeImage();
const diskSize = 8 * mebibyte;

interface Run {
  readonly disk: RecordedDisk;
  readonly manifest?: Partial<ImageManifest>;
  readonly stored?: Buffer;
  readonly cutAfter?: number;
  readonly isAway?: () => boolean;
  readonly time?: Time;
  readonly ticket?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (stage: string, percent: number) => void;
}

async function run(
  options: Run,
): Promise<{ ranges: readonly (string | undefined)[]; sent: number }> {
  const stored = options.stored ?? image;
  const server = await serveImage(stored, options.cutAfter, options.isAway);
  try {
    await installRaw(
      {
        disk: options.disk,
        source: {
          url: server.url,
          ticket: options.ticket ?? "good-ticket",
          manifest: { ...describeImage(image, stored, "none"), ...options.manifest },
          console: recordConsole(),
          retryMs: 1,
          ...(options.time && { time: options.time }),
        },
        reporter: { progress: (stage, percent) => options.onProgress?.(stage, percent) },
        console: recordConsole(),
        configure: () => [],
        playedDisk: "/nowhere",
      },
      options.signal ?? new AbortController().signal,
    );
    return { ranges: server.ranges, sent: server.sent() };
  } finally {
    await server.close();
  }
}

function isUnbootable(disk: RecordedDisk): boolean {
  return (
    disk.bytes.subarray(0, mebibyte).every((octet) => octet === 0) &&
    disk.bytes.subarray(-33 * 512).every((octet) => octet === 0)
  );
}

for (const compression of compressions) {
  test(`an image stored as ${compression} arrives whole, with its table grown`, async (t) => {
    const disk = memoryDisk(diskSize);
    const stored = compress(image, compression);
    await run({ disk, stored, manifest: { compression } });
    const grown = growLastPartition(image.subarray(0, mebibyte), diskSize);
    t.true(disk.bytes.subarray(0, mebibyte).equals(grown.head));
    t.true(disk.bytes.subarray(mebibyte, imageSize).equals(image.subarray(mebibyte)));
    t.true(disk.bytes.subarray(diskSize - 33 * 512).equals(grown.backup ?? Buffer.alloc(0)));
  });
}

test("the first write and flush make the disk unbootable, the last write is the first 4 KiB", async (t) => {
  const disk = memoryDisk(diskSize);
  await run({ disk });
  t.deepEqual(disk.log.slice(0, 3), [
    `write 0-${mebibyte}`,
    `write ${diskSize - mebibyte}-${diskSize}`,
    "flush",
  ]);
  t.deepEqual(disk.log.slice(-6), [
    "drop",
    `write 4096-${mebibyte}`,
    `write ${diskSize - 33 * 512}-${diskSize}`,
    "flush",
    "write 0-4096",
    "flush",
  ]);
  const between = disk.log.slice(3, -6).filter((line) => line.startsWith("write"));
  t.true(between.every((line) => Number(/\d+/.exec(line)?.[0]) >= mebibyte));
});

test("an image exactly as large as the disk keeps its backup GPT back until the commit", async (t) => {
  const disk = memoryDisk(imageSize);
  await run({
    disk,
    onProgress: (stage) => {
      if (stage === "configuring") t.true(isUnbootable(disk));
    },
  });
  t.true(disk.bytes.equals(image));
});

const wrongDigest = parseImageDigest("0".repeat(64));
for (const [title, manifest, message] of [
  [
    "another plain digest",
    { digest: wrongDigest },
    /sha-256 of the plain bytes is [0-9a-f]{64} instead of 0{64}/,
  ],
  ["another stored digest", { storedDigest: wrongDigest }, /sha-256 of the stored bytes/],
  ["fewer plain bytes", { sizeBytes: imageSize - 512 }, /unpacks to more than/],
  ["more plain bytes", { sizeBytes: imageSize + 512 }, /plain bytes instead of/],
  ["another compression", { compression: "zstd" }, /cannot be unpacked as zstd/],
  ["xz that is none", { compression: "xz" }, /xz/],
] as const) {
  test(`a manifest with ${title} leaves nothing bootable, and the reason has the values`, async (t) => {
    const disk = memoryDisk(diskSize);
    await t.throwsAsync(run({ disk, manifest }), { message });
    t.true(isUnbootable(disk));
  });
}

test("a disk that returns other bytes than were written is not made bootable", async (t) => {
  const good = memoryDisk(diskSize);
  const disk: RecordedDisk = {
    ...good,
    read: async (position, length) => {
      const bytes = await good.read(position, length);
      if (position === 3 * mebibyte) bytes[100] = (bytes[100] ?? 0) ^ 1;
      return bytes;
    },
  };
  await t.throwsAsync(run({ disk }), { message: /returns other bytes/ });
  t.true(isUnbootable(disk));
});

test("E51: a disk that refuses any one write, read or flush: bootable only once all of it is there", async (t) => {
  let refused = 0;
  for (let at = 1; ; at++) {
    const good = memoryDisk(diskSize);
    const before = Buffer.from(good.bytes);
    let count = 0;
    const refusing =
      <Values extends readonly unknown[], Result>(work: (...values: Values) => Promise<Result>) =>
      async (...values: Values): Promise<Result> => {
        count += 1;
        if (count === at) throw new DiskError(`operation ${at}`);
        return await work(...values);
      };
    const disk: RecordedDisk = {
      ...good,
      write: refusing(good.write),
      read: refusing(good.read),
      flush: refusing(good.flush),
    };
    const error = await run({ disk }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    const isUntouched = good.bytes.equals(before);
    const isBootable = good.bytes.subarray(0, 4096).some((octet) => octet !== 0);
    const isWhole = good.bytes
      .subarray(mebibyte, imageSize)
      .equals(image.subarray(mebibyte, imageSize));
    t.true(isUntouched || !isBootable || isWhole, `operation ${at}`);
    if (error === undefined) break;
    t.true(error instanceof DiskError && error.retryable, `operation ${at}: ${String(error)}`);
    refused += 1;
  }
  t.true(refused > 15, `${refused}`);
  t.log(`${refused} operations refused`);
});

test("a download that breaks goes on where it was", async (t) => {
  const disk = memoryDisk(diskSize);
  const { ranges } = await run({ disk, cutAfter: 2 * mebibyte });
  t.is(ranges.length, 2);
  t.is(ranges[0], undefined);
  t.regex(ranges[1] ?? "", /^bytes=[1-9]\d*-$/);
  t.is(sha256(disk.bytes.subarray(mebibyte, imageSize)), sha256(image.subarray(mebibyte)));
});

/** Time that goes by only while somebody waits. */
function waitedTime(): Time & { readonly waits: number[] } {
  const waits: number[] = [];
  return {
    waits,
    now: () => waits.reduce((sum, one) => sum + one, 0),
    sleep: async (ms) => void waits.push(ms),
  };
}
const minute = 60_000;

test("E52: a server that is away for 15 minutes is asked again each half minute, for what is left and nothing else", async (t) => {
  const disk = memoryDisk(diskSize);
  const time = waitedTime();
  const isAway = () => time.now() < 15 * minute;
  const { ranges, sent } = await run({ disk, cutAfter: 2 * mebibyte, isAway, time });
  t.is(ranges.length, 2);
  const position = Number(/^bytes=(\d+)-$/.exec(ranges[1] ?? "")?.[1]);
  t.true(position > 0 && position <= 2 * mebibyte);
  t.is(sent, 2 * mebibyte + (image.length - position), "the rest, and what was under way");
  t.true(time.waits.every((ms) => ms <= 30_000));
  t.true(time.waits.length < 100);
  t.is(sha256(disk.bytes.subarray(mebibyte, imageSize)), sha256(image.subarray(mebibyte)));
});

test("E52: a server that stays away is given up after 20 minutes, as something to try again", async (t) => {
  const disk = memoryDisk(diskSize);
  const time = waitedTime();
  const error = await t.throwsAsync(
    run({ disk, cutAfter: 2 * mebibyte, isAway: () => true, time }),
    { instanceOf: NetworkError },
  );
  t.true(error?.retryable);
  t.true(time.now() >= 20 * minute && time.now() <= 21 * minute);
  t.true(isUnbootable(disk));
});

test("an install that fails ends its download, also one that waits for its server", async (t) => {
  const { promise: waiting, resolve: waits } = Promise.withResolvers<void>();
  const { promise: ended, resolve: ends } = Promise.withResolvers<void>();
  const time: Time = {
    now: () => 0,
    sleep: (_ms, signal) => {
      signal?.addEventListener("abort", () => ends(), { once: true });
      waits();
      return ended;
    },
  };
  const good = memoryDisk(diskSize);
  const disk: RecordedDisk = {
    ...good,
    write: async (bytes, position) => {
      if (position < mebibyte || position > imageSize) return good.write(bytes, position);
      await waiting;
      throw new DiskError("write refused");
    },
  };
  await t.throwsAsync(run({ disk, cutAfter: 2 * mebibyte, isAway: () => true, time }), {
    message: "write refused",
  });
  await ended;
  t.true(isUnbootable(disk));
});

test("a refused ticket is no reason to try again", async (t) => {
  const disk = memoryDisk(diskSize);
  const error = await t.throwsAsync(run({ disk, ticket: "old" }), { message: /answered 401/ });
  t.false((error as unknown as { retryable: boolean }).retryable);
  t.true(isUnbootable(disk));
});

test("a cancelled install stops and leaves nothing bootable", async (t) => {
  const disk = memoryDisk(diskSize);
  const ended = new AbortController();
  await t.throwsAsync(
    run({
      disk,
      signal: ended.signal,
      onProgress: (stage) => {
        if (stage === "verifying") ended.abort(new AttemptEndedError("the job was cancelled"));
      },
    }),
    { instanceOf: AttemptEndedError },
  );
  t.true(isUnbootable(disk));
});

const fixed = { name: "vda", sizeBytes: 1000, serial: "S1", removable: false };
const second = { name: "nvme0n1", sizeBytes: 2000, removable: false };
const stick = { name: "sda", sizeBytes: 3000, removable: true };
for (const [title, disks, wanted, found] of [
  ["the only fixed disk", [fixed, stick], undefined, "vda"],
  ["a disk by kernel name", [fixed, second], "nvme0n1", "nvme0n1"],
  ["a disk by path", [fixed, second], "/dev/vda", "vda"],
  ["a disk by serial", [fixed, second], "S1", "vda"],
  ["a removable disk that was named", [fixed, stick], "sda", "sda"],
] as const) {
  test(`chosen: ${title}`, (t) => void t.is(chooseDisk(disks, wanted, 500).name, found));
}
for (const [title, disks, wanted, needed, message] of [
  ["no disk", [], undefined, 500, "no fixed disk found; there is: none"],
  [
    "only removable ones",
    [stick],
    undefined,
    500,
    "no fixed disk found; there is: sda (3000 bytes, removable)",
  ],
  [
    "two fixed disks",
    [fixed, second],
    undefined,
    500,
    "more than one fixed disk, name one: vda (1000 bytes), nvme0n1 (2000 bytes)",
  ],
  ["a name that is not there", [fixed], "sdz", 500, 'no disk "sdz"; there is: vda (1000 bytes)'],
  [
    "a disk that is too small",
    [fixed],
    undefined,
    1001,
    "disk vda is too small: it has 1000 bytes, the image needs 1001",
  ],
] as const) {
  test(`refused before anything is touched: ${title}`, (t) => {
    t.throws(() => chooseDisk(disks, wanted, needed), { instanceOf: InstallRefusedError, message });
  });
}

test("a file as disk is written, flushed and read back", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "marcoboot-disk-"));
  const path = join(directory, "disk");
  writeFileSync(path, Buffer.alloc(2 * mebibyte));
  const disk = await openDisk(
    { name: "disk-file", sizeBytes: 2 * mebibyte, removable: false },
    path,
  );
  try {
    const bytes = randomBytes(mebibyte + 1000);
    await disk.write(bytes, 4096);
    await disk.flush();
    await disk.dropCaches();
    t.true((await disk.read(4096, 4096)).equals(bytes.subarray(0, 4096)));
    t.true((await disk.read(5000, 96)).equals(bytes.subarray(904, 1000)));
    t.is(sha256(readFileSync(path).subarray(4096, 4096 + bytes.length)), sha256(bytes));
    await t.throwsAsync(disk.read(2 * mebibyte, 512), { message: /ends at 2097152/ });
  } finally {
    await disk.close();
    rmSync(directory, { recursive: true });
  }
});
