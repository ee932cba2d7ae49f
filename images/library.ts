/**
 * The images on this server: content-addressed, read-only, signed.
 *
 *   <directory>/<digest>/image          the bytes as they came, mode 0444
 *   <directory>/<digest>/manifest.json  what is signed, and the signature
 *   <directory>/<digest>/boot/          of a Raspberry Pi's with root slots: pi-boot-files.ts
 *   <directory>/.incoming-<random>/     being taken in; removed at the next start
 *
 * An image appears by one rename of its directory, after it was checked, hashed
 * and synced, and counts once the journal has its row.
 */

import { type ChildProcess, fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type ImageDigest, parseImageDigest } from "#protocol/brand.ts";
import { canonicalJson } from "#protocol/discovery.ts";
import type { Architecture } from "#protocol/firmware.ts";
import type { Image, ImageFormat, ImageManifest, ImageOrigin } from "#protocol/image.ts";
import { type SlotSizes, treeRootBytes } from "#protocol/root-slots.ts";
import type { Clock } from "../server/clock.ts";
import {
  ConflictError,
  ImageDigestError,
  ImageInvalidError,
  InvalidInputError,
  NotFoundError,
  type ProvisionError,
  UnavailableError,
} from "../server/errors.ts";
import type { EventBus } from "../server/events.ts";
import type { Log } from "../server/log.ts";
import { syncDirectory, writeDurably } from "../server/store/durable-file.ts";
import type { Store } from "../server/store/store.ts";
import type { Ingested, IngestRequest } from "./ingest.ts";
import { manifestOf, signedManifestText } from "./manifest.ts";
import { extractPiBoot } from "./pi-boot-files.ts";
import { refuseWithoutRoom } from "./room.ts";
import type { WorkerMessage } from "./worker.ts";

export interface AddRequest {
  /** A file on this server; it is copied and stays. */
  readonly path: string;
  /** It is one of ours beside the library: linked instead of copied, and never written again. */
  readonly isOurs?: true;
  /** 1-63 of `a-z 0-9 . _ -`. Several images may share one: the newest is meant. */
  readonly name: string;
  readonly architecture: Architecture;
  /** Absent: found out from the first bytes. */
  readonly format?: ImageFormat;
  /** Default `grub`. */
  readonly bootloader?: ImageManifest["bootloader"];
  /** Of a root file system: two root slots and a data partition, where a disk has room for them. */
  readonly slots?: SlotSizes;
  /** Absolute paths that an update carries over. */
  readonly keep?: readonly string[];
  /** sha-256 in hex of the file as it is, or unpacked. */
  readonly expectedDigest?: string;
  readonly origin?: ImageOrigin;
  /** Asked last of all, in the moment it would be published; throws when it is not wanted any more. */
  readonly checkWanted?: () => void;
}

export interface Library {
  /**
   * Checks, copies, signs and publishes an image; one at a time. An image that
   * is there already is returned as it is; one whose file is gone gets it back.
   *
   * @param onProgress - percent of the file read
   * @throws InvalidInputError, ImageInvalidError, ImageDigestError, UnavailableError;
   *   ConflictError when the same bytes are there under another description.
   *   Nothing is published then.
   */
  add(request: AddRequest, onProgress?: (percent: number) => void): Promise<Image>;
  /** Undefined also for one whose file is not here. */
  get(digest: ImageDigest): Image | undefined;
  list(): readonly Image[];
  /** @throws NotFoundError; ConflictError while an unfinished job installs it. */
  remove(digest: ImageDigest): Promise<void>;
  /** File with the bytes as stored. */
  pathOf(digest: ImageDigest): string;
  /** Directory of what a Raspberry Pi's firmware reads of it; there if the image has root slots. */
  bootFilesOf(digest: ImageDigest): string;
  /** Ends the work under way; nothing of it is published. */
  close(): Promise<void>;
}

export interface LibraryContext {
  readonly directory: string;
  readonly store: Pick<Store, "images" | "jobs">;
  readonly site: { sign(text: string): string };
  readonly clock: Clock;
  readonly log: Log;
  readonly events: Pick<EventBus, "publish">;
}

const namePattern = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const digestPattern = /^[0-9a-f]{64}$/;
const bootFilesName = "boot";
const incoming = ".incoming-";
const removed = ".removed-";

export function createLibrary(context: LibraryContext): Library {
  const { directory, store, site, clock, log } = context;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  removeLeftovers(directory, log);
  const workers = new Set<ChildProcess>();
  const closing = new AbortController();
  let last: Promise<unknown> = Promise.resolve();

  const pathOf = (digest: ImageDigest) => join(directory, digest, "image");
  const bootFilesOf = (digest: ImageDigest) => join(directory, digest, bootFilesName);
  /** Known, but not here: restored from a backup without them, or removed by hand. */
  const missing = new Set<ImageDigest>();
  for (const { digest, name } of store.images.list()) {
    if (existsSync(pathOf(digest))) continue;
    missing.add(digest);
    log.error({ digest, name }, "the file of this image is not here: push it again");
  }

  /** A backup has the images, not what was made of them. */
  const remakeBootFiles = async (image: Image): Promise<void> => {
    const { digest, compression, name } = image;
    const temporary = join(directory, `${incoming}${randomBytes(8).toString("hex")}`);
    try {
      await extractPiBoot({ path: pathOf(digest), compression }, temporary);
      await rename(temporary, bootFilesOf(digest));
      log.info({ digest, name }, "boot files of this image made again");
    } catch (error) {
      log.error({ err: error, digest, name }, "this image cannot be tried by an update");
      await rm(temporary, { recursive: true, force: true });
    }
  };
  for (const image of store.images.list()) {
    if (!isTriedFromHere(image) || missing.has(image.digest)) continue;
    if (!existsSync(bootFilesOf(image.digest))) last = last.then(() => remakeBootFiles(image));
  }

  async function takeIn(
    request: AddRequest,
    onProgress: (percent: number) => void,
  ): Promise<Image> {
    if (closing.signal.aborted) throw new UnavailableError("the server is closing");
    if (!request.isOurs) await refuseWithoutRoom(directory, await sizeOf(request.path));
    const temporary = join(directory, `${incoming}${randomBytes(8).toString("hex")}`);
    await mkdir(temporary, { mode: 0o755 });
    try {
      const ingested = await runWorker(
        {
          path: request.path,
          target: join(temporary, "image"),
          ...(request.isOurs && { isOurs: true }),
          ...(isTriedFromHere(request) && { bootFiles: join(temporary, bootFilesName) }),
          ...(request.format && { format: request.format }),
          ...(request.expectedDigest && { expectedDigest: request.expectedDigest }),
        },
        onProgress,
        workers,
      );
      return await publish(temporary, manifest(request, ingested), request);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }

  async function publish(
    temporary: string,
    signed: ImageManifest,
    { origin, checkWanted }: AddRequest,
  ): Promise<Image> {
    const existing = store.images.get(signed.digest);
    const known = existing && sameOrConflict(existing, signed);
    if (known && !missing.has(known.digest)) return known;
    const from = known?.origin ?? origin;
    const image: Image = {
      ...signed,
      ...(from && { origin: from }),
      createdAt: known?.createdAt ?? clock.now(),
      signature: site.sign(signedManifestText(signed)),
    };
    await writeDurably(join(temporary, "manifest.json"), `${canonicalJson(image)}\n`, 0o444);
    await discard(directory, signed.digest); // of an add that was cut off before its row
    await rename(temporary, join(directory, signed.digest));
    await syncDirectory(directory);
    try {
      checkWanted?.();
    } catch (error) {
      await discard(directory, signed.digest);
      throw error;
    }
    store.images.put(image);
    missing.delete(image.digest);
    log.info({ digest: image.digest, name: image.name, bytes: image.storedBytes }, "image added");
    return image;
  }

  return {
    async add(request, onProgress = () => undefined) {
      checkRequest(request);
      const result = last.then(() => takeIn(request, onProgress));
      last = result.catch(() => undefined); // the caller hears of it, the next in line need not
      return await result;
    },
    get: (digest) => (missing.has(digest) ? undefined : store.images.get(digest)),
    list: () =>
      store.images
        .list()
        .map((image) => (missing.has(image.digest) ? { ...image, isMissing: true } : image)),
    pathOf,
    bootFilesOf,
    async remove(digest) {
      const image = store.images.get(digest);
      if (!image) throw new NotFoundError(`no image ${digest}`);
      const user = userOf(digest, store);
      if (user) throw new ConflictError(`image ${image.name} is being installed by ${user}`);
      store.images.delete(digest);
      await discard(directory, digest); // a transfer under way keeps its open file
      log.info({ digest, name: image.name }, "image removed");
    },
    async close() {
      closing.abort();
      for (const worker of workers) worker.kill("SIGKILL");
      await last;
    },
  };
}

/** Whether the server gives this system to a board that tries it (pi-boot-files.ts). */
function isTriedFromHere({ slots, bootloader }: Pick<AddRequest, "slots" | "bootloader">): boolean {
  return slots !== undefined && bootloader === "raspberry-pi";
}

function checkRequest({ name, expectedDigest }: AddRequest): void {
  if (!namePattern.test(name)) {
    throw new InvalidInputError(`not an image name: ${JSON.stringify(name)}`, [
      { pointer: "/name", detail: "1-63 of a-z, 0-9, dot, underscore, hyphen; no sign first" },
    ]);
  }
  if (expectedDigest !== undefined && !digestPattern.test(expectedDigest)) {
    throw new InvalidInputError(`not a sha-256 digest: ${JSON.stringify(expectedDigest)}`, [
      { pointer: "/expectedDigest", detail: "64 lower-case hexadecimal digits" },
    ]);
  }
}

function manifest(request: AddRequest, ingested: Ingested): ImageManifest {
  return {
    version: 1,
    name: request.name,
    architecture: request.architecture,
    format: ingested.format,
    compression: ingested.compression,
    digest: parseImageDigest(ingested.digest),
    sizeBytes: ingested.sizeBytes,
    storedBytes: ingested.storedBytes,
    storedDigest: ingested.storedDigest,
    bootloader: request.bootloader ?? (ingested.format === "file" ? "none" : "grub"),
    ...slotsOf(request, ingested),
  };
}

/**
 * Of a system that has grown since it was installed the slots grow with it.
 *
 * @throws InvalidInputError where they mean nothing, or hold no system
 */
function slotsOf(
  { slots, keep, origin }: AddRequest,
  { format, sizeBytes }: Ingested,
): Pick<ImageManifest, "slots" | "keep"> {
  if ((slots || keep) && format !== "rootfs-tar") {
    throw new InvalidInputError(
      `root slots and kept paths are for root file systems, this image is ${format}`,
      [{ pointer: slots ? "/rootMiB" : "/keep", detail: "leave it out, or push a tar archive" }],
    );
  }
  const leastMiB = Math.ceil(treeRootBytes({ sizeBytes }) / 1024 ** 2);
  if (slots && slots.rootMiB < leastMiB) {
    if (origin) return { slots: { ...slots, rootMiB: leastMiB }, ...(keep && { keep }) };
    throw new InvalidInputError(
      `a root slot of ${slots.rootMiB} MiB does not hold this image: it needs ${leastMiB}`,
      [{ pointer: "/rootMiB", detail: `${leastMiB} or more; twice that leaves room to grow` }],
    );
  }
  return { ...(slots && { slots }), ...(keep && { keep }) };
}

/** The same plain bytes may come again, also packed otherwise; they may not mean something else. */
function sameOrConflict(existing: Image, offered: ImageManifest): Image {
  const { compression, storedBytes, storedDigest } = existing;
  const alike = { ...offered, compression, storedBytes, storedDigest };
  if (canonicalJson(alike) === canonicalJson(manifestOf(existing))) return existing;
  throw new ConflictError(
    `image ${existing.digest} is in the library as ${existing.name} (${existing.architecture}, ${existing.format})`,
  );
}

/** Id of an unfinished job that needs the image. */
function userOf(digest: ImageDigest, store: LibraryContext["store"]): string | undefined {
  return store.jobs
    .unfinished()
    .find(({ parameters }) => "image" in parameters && parameters.image === digest)?.id;
}

/** 0 when it cannot be read: the worker says what is wrong with it. */
async function sizeOf(path: string): Promise<number> {
  return await stat(path).then(
    (status) => status.size,
    () => 0,
  );
}

/** Out of sight by a rename first, so that a half-removed image is never seen. */
async function discard(directory: string, digest: ImageDigest): Promise<void> {
  const trash = join(directory, `${removed}${randomBytes(8).toString("hex")}`);
  try {
    await rename(join(directory, digest), trash);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  await syncDirectory(directory);
  await rm(trash, { recursive: true, force: true });
}

function removeLeftovers(directory: string, log: Log): void {
  for (const name of readdirSync(directory)) {
    if (!name.startsWith(incoming) && !name.startsWith(removed)) continue;
    rmSync(join(directory, name), { recursive: true, force: true });
    log.info({ name }, "left-over of an unfinished image removed");
  }
}

function runWorker(
  request: IngestRequest,
  onProgress: (percent: number) => void,
  workers: Set<ChildProcess>,
): Promise<Ingested> {
  return new Promise((resolve, reject) => {
    const worker = fork(fileURLToPath(new URL("./worker.ts", import.meta.url)), [], {
      execArgv: [],
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    workers.add(worker);
    worker.on("message", (raw) => {
      const message = raw as WorkerMessage;
      if (message.kind === "progress") onProgress(message.percent);
      else if (message.kind === "done") resolve(message.ingested);
      else reject(errorOf(message.code, message.message));
    });
    worker.on("error", (cause) =>
      reject(new UnavailableError("image worker cannot run", { cause })),
    );
    // Not "exit": that may come before the last message; "close" waits for the channel's end too.
    worker.on("close", (code, signal) => {
      workers.delete(worker);
      reject(new UnavailableError(`image worker ended by ${signal ?? code} before it was done`));
    });
    worker.send(request);
  });
}

function errorOf(code: string, message: string): ProvisionError {
  switch (code) {
    case "image-invalid":
      return new ImageInvalidError(message);
    case "image-digest-mismatch":
      return new ImageDigestError(message);
    default:
      return new UnavailableError(message);
  }
}
