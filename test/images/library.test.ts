import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import test, { type ExecutionContext } from "ava";
import {
  type ImageDigest,
  type Instant,
  type JobId,
  type NodeId,
  parseImageDigest,
  type TaskId,
} from "#protocol/brand.ts";
import { createLibrary, type Library } from "../../images/library.ts";
import { signedManifestText } from "../../images/manifest.ts";
import { makeMbr } from "../../netinst/partition-table.ts";
import { pinKey } from "../../netinst/trust.ts";
import { openSite } from "../../server/enrol/authority.ts";
import {
  ConflictError,
  ImageDigestError,
  ImageInvalidError,
  InvalidInputError,
  NotFoundError,
  UnavailableError,
} from "../../server/errors.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { goodEntries, tarOf } from "./tar.ts";

const disk = randomBytes(3 * 1024 * 1024);
makeMbr(disk.length, 1, [{ name: "root", type: "83", offset: 1 << 20 }]).head.copy(disk);
disk.writeUInt16LE(0xef53, (1 << 20) + 1080); // ext4
const archive = tarOf(goodEntries);
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const xz = (bytes: Uint8Array) =>
  execFileSync("xz", ["-c", "-0"], { input: bytes, maxBuffer: 1 << 24 });

async function setUp(t: ExecutionContext) {
  const root = temporaryDirectory(t);
  const directory = join(root, "images");
  const site = await openSite(join(root, "keys"));
  const store = openSqliteStore(":memory:");
  const clock = createFakeClock();
  const events = createEventBus(silentLog);
  const open = () => createLibrary({ directory, store, site, clock, log: silentLog, events });
  const library = open();
  t.teardown(async () => {
    await library.close();
    store.close();
  });
  const file = (bytes: Uint8Array) => {
    const path = join(root, `upload-${randomBytes(4).toString("hex")}`);
    writeFileSync(path, bytes);
    return path;
  };
  const add = (bytes: Uint8Array, more: Partial<Parameters<Library["add"]>[0]> = {}) =>
    library.add({ path: file(bytes), name: "debian", architecture: "amd64", ...more });
  const isEmpty = () => {
    t.deepEqual(readdirSync(directory), []);
    t.deepEqual(store.images.list(), []);
  };
  return { directory, site, store, library, open, file, add, isEmpty };
}

for (const [compression, pack] of [
  ["none", (bytes: Uint8Array) => bytes],
  ["gzip", (bytes: Uint8Array) => gzipSync(bytes)],
  ["zstd", (bytes: Uint8Array) => zstdCompressSync(bytes)],
  ["xz", xz],
] as const) {
  for (const [format, plain] of [
    ["raw", disk],
    ["rootfs-tar", archive],
  ] as const) {
    test(`${format}, compression ${compression}: stored as it came, known by its plain bytes`, async (t) => {
      const { add, library } = await setUp(t);
      const packed = pack(plain);
      const image = await add(packed);
      t.is(image.format, format);
      t.is(image.compression, compression);
      t.is(String(image.digest), sha256(plain));
      t.is(image.sizeBytes, plain.length);
      t.is(image.storedDigest, sha256(packed));
      t.is(image.storedBytes, packed.length);
      t.true(readFileSync(library.pathOf(image.digest)).equals(packed));
    });
  }

  test(`compression ${compression}: a file that was cut off is refused, nothing is published`, async (t) => {
    const { add, isEmpty } = await setUp(t);
    const packed = pack(disk);
    const cut = packed.subarray(0, packed.length - 100);
    await t.throwsAsync(add(cut), { instanceOf: ImageInvalidError });
    isEmpty();
  });
}

test("two zstd frames, as parallel tools write them, are one image", async (t) => {
  const { add } = await setUp(t);
  const frames = Buffer.concat(
    [disk.subarray(0, 1 << 20), disk.subarray(1 << 20)].map((part) => zstdCompressSync(part)),
  );
  t.is((await add(frames)).sizeBytes, disk.length);
});

test("the manifest is signed, and lies beside the image, both read-only", async (t) => {
  const { add, directory, site, store } = await setUp(t);
  const image = await add(disk, { bootloader: "none" });
  t.true(pinKey(site.serverKey).covers(signedManifestText(image), image.signature));
  const path = join(directory, image.digest);
  t.deepEqual(readdirSync(path).sort(), ["image", "manifest.json"]);
  t.deepEqual(JSON.parse(readFileSync(join(path, "manifest.json"), "utf8")), image);
  for (const name of readdirSync(path)) t.is(statSync(join(path, name)).mode & 0o777, 0o444);
  t.deepEqual(store.images.get(image.digest), image);
});

test("progress ends at 100 percent and never falls", async (t) => {
  const { library, file } = await setUp(t);
  const seen: number[] = [];
  await library.add(
    { path: file(disk), name: "debian", architecture: "amd64" },
    (percent) => void seen.push(percent),
  );
  t.is(seen.at(-1), 100);
  t.deepEqual(
    seen,
    seen.toSorted((a, b) => a - b),
  );
});

test("the expected digest may be the file's or the unpacked bytes'", async (t) => {
  const packed = gzipSync(disk);
  for (const expectedDigest of [sha256(packed), sha256(disk)]) {
    const { add } = await setUp(t);
    t.is(String((await add(packed, { expectedDigest })).digest), sha256(disk));
  }
});

test("another digest than expected is refused, nothing is published", async (t) => {
  const { add, isEmpty } = await setUp(t);
  const error = await t.throwsAsync(add(disk, { expectedDigest: "0".repeat(64) }), {
    instanceOf: ImageDigestError,
  });
  t.true(error?.message.includes(sha256(disk)));
  isEmpty();
});

for (const [title, path] of [
  ["leads upwards", "../escaped"],
  ["is absolute", "/tmp/marcoboot-escaped"],
] as const) {
  test(`F58: an archive with a name that ${title} is refused, nothing is published`, async (t) => {
    const { add, isEmpty } = await setUp(t);
    const bytes = tarOf([...goodEntries, { path, content: "x" }]);
    await t.throwsAsync(add(gzipSync(bytes)), { instanceOf: ImageInvalidError });
    isEmpty();
  });
}

test("an image that is not of the format it is called is refused", async (t) => {
  const { add, isEmpty } = await setUp(t);
  await t.throwsAsync(add(disk, { format: "rootfs-tar" }), { instanceOf: ImageInvalidError });
  await t.throwsAsync(add(randomBytes(2048)), { instanceOf: ImageInvalidError });
  await t.throwsAsync(add(Buffer.alloc(0)), { instanceOf: ImageInvalidError });
  isEmpty();
});

test("a file that is not there, and a directory, are refused", async (t) => {
  const { library, directory } = await setUp(t);
  for (const path of [join(directory, "none"), directory]) {
    await t.throwsAsync(library.add({ path, name: "debian", architecture: "amd64" }), {
      instanceOf: ImageInvalidError,
    });
  }
});

for (const name of ["", "../x", "Debian 12", "-x", "a".repeat(64)]) {
  test(`the image name ${JSON.stringify(name)} is refused`, async (t) => {
    const { add } = await setUp(t);
    await t.throwsAsync(add(disk, { name }), { instanceOf: InvalidInputError });
  });
}

test("the same image again, packed otherwise, is the one that is there", async (t) => {
  const { add, store } = await setUp(t);
  const [first, second] = await Promise.all([add(disk), add(gzipSync(disk))]);
  t.deepEqual(second, first);
  t.is(store.images.list().length, 1);
});

test("the same bytes under another description are a conflict", async (t) => {
  const { add } = await setUp(t);
  await add(disk);
  await t.throwsAsync(add(disk, { architecture: "arm64" }), { instanceOf: ConflictError });
});

const slots = { rootMiB: 512, data: "/srv" };

test("root slots and kept paths are part of what is signed", async (t) => {
  const { add } = await setUp(t);
  const image = await add(archive, { slots, keep: ["/etc/app"] });
  t.like(image, { slots, keep: ["/etc/app"] });
  t.regex(
    signedManifestText(image),
    /"keep":\["\/etc\/app"\].*"slots":\{"data":"\/srv","rootMiB":512\}/,
  );
});

const wrongSlots = [
  ["of a disk", disk, {}, /are for root file systems, this image is raw/],
  [
    "that are too small",
    archive,
    { slots: { ...slots, rootMiB: 100 } },
    /of 100 MiB .* it needs 145/,
  ],
  ["without a kernel", archive, { bootloader: "raspberry-pi" }, /no \/boot\/vmlinuz/],
] as const;
for (const [title, bytes, more, message] of wrongSlots) {
  test(`root slots ${title} are refused`, async (t) => {
    const { add } = await setUp(t);
    await t.throwsAsync(add(bytes, { slots, ...more }), { message });
  });
}

test("a worker killed in the middle publishes nothing, and the next image goes in", async (t) => {
  const { library, file, isEmpty, open } = await setUp(t);
  const large = Buffer.concat(Array.from({ length: 16 }, () => disk));
  let closed: Promise<void> | undefined;
  const adding = library.add({ path: file(large), name: "debian", architecture: "amd64" }, () => {
    closed ??= library.close(); // kills it
  });
  const error = await t.throwsAsync(adding, { instanceOf: UnavailableError });
  t.true(error?.message.includes("SIGKILL"), error?.message);
  await closed;
  isEmpty();
  const next = open();
  const image = await next.add({ path: file(disk), name: "debian", architecture: "amd64" });
  t.is(image.sizeBytes, disk.length);
});

test("what an earlier server left unfinished is gone after a start; images stay", async (t) => {
  const { add, directory, open } = await setUp(t);
  const image = await add(disk);
  mkdirSync(join(directory, ".incoming-0011223344556677"));
  writeFileSync(join(directory, ".incoming-0011223344556677", "image"), "half");
  await open().close();
  t.deepEqual(readdirSync(directory), [image.digest]);
});

test("an image renamed in but not yet in the journal is replaced by the next add", async (t) => {
  const { add, store, directory } = await setUp(t);
  const image = await add(disk);
  store.images.delete(image.digest); // as if the server had died before the row
  writeFileSync(join(directory, image.digest, "stray"), "x");
  await add(disk);
  t.deepEqual(readdirSync(join(directory, image.digest)).sort(), ["image", "manifest.json"]);
});

test("an image can be removed, once", async (t) => {
  const { add, library, isEmpty } = await setUp(t);
  const { digest } = await add(disk);
  await library.remove(digest);
  isEmpty();
  t.is(library.get(digest), undefined);
  await t.throwsAsync(library.remove(digest), { instanceOf: NotFoundError });
});

test("an image that an unfinished job installs stays", async (t) => {
  const { add, library, store } = await setUp(t);
  const { digest } = await add(disk);
  occupy(store, digest);
  await t.throwsAsync(library.remove(digest), { instanceOf: ConflictError, message: /job_1/ });
  t.truthy(library.get(digest));
  t.is(statSync(library.pathOf(digest)).size, disk.length);
});

test("an image that another job installs does not keep this one", async (t) => {
  const { add, library, store } = await setUp(t);
  const { digest } = await add(disk);
  occupy(store, parseImageDigest("0".repeat(64)));
  await t.notThrowsAsync(library.remove(digest));
});

function occupy(store: ReturnType<typeof openSqliteStore>, image: ImageDigest): void {
  const common = { createdAt: 1 as Instant, id: "job_1" as JobId };
  store.jobs.put({
    ...common,
    kind: "install",
    parameters: { image, authorizedKeys: [] },
    state: "running",
    selector: "all",
    createdBy: "test",
  });
  store.tasks.put({
    id: "task_1" as TaskId,
    jobId: common.id,
    nodeId: "node_1" as NodeId,
    kind: "install",
    state: "running",
    epoch: 1,
    percent: 0,
    stageSeconds: {},
    createdAt: common.createdAt,
  });
}
