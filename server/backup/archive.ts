/**
 * A backup as a file: a tar archive packed with zstd, which `tar --zstd -xf` unpacks too. The first
 * member says what the others are; one that is missing, cut or altered is found by its digest.
 *
 *   backup.json                   {@link Contents}
 *   marcoboot.db, leases          of a backup of the state
 *   server.yaml                   the settings, where they were found
 *   images/<digest>/image, …      where they were asked for
 *   keys/signing.key, …           of a backup of the keys
 */

import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants, createZstdCompress } from "node:zlib";
import { Header } from "tar";
import { decompress } from "../../images/compression.ts";
import { ConfigurationError, UnavailableError } from "../errors.ts";
import { syncDirectory } from "../store/durable-file.ts";

export interface Member {
  /** Below the state directory. */
  readonly name: string;
  readonly octets: number;
  /** In hex. */
  readonly sha256: string;
}

export interface Contents {
  readonly version: 1;
  readonly kind: "state" | "keys";
  /** RFC 3339. */
  readonly at: string;
  readonly host: string;
  /** Key id of the site: keys and state of one site belong together. */
  readonly site: string;
  readonly members: readonly Member[];
  /** Of a backup of the state. */
  readonly journalVersion?: number;
  /** Where the settings were. */
  readonly settings?: string;
}

/** A member, and where its octets are now. */
export interface Source extends Member {
  readonly path: string;
}

const titleName = "backup.json";
const titleLimit = 16 << 20; // of 100,000 images with their digests
const block = 512;
/** Nothing else is ever unpacked. */
const allowed =
  /^(marcoboot\.db|leases|server\.yaml|keys\/[a-z0-9][a-z0-9.-]{0,40}|images\/[0-9a-f]{64}\/(image|manifest\.json))$/;

/** The file as a source. */
export async function sourceOf(name: string, path: string): Promise<Source> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  const { size } = await stat(path);
  return { name, path, octets: size, sha256: hash.digest("hex") };
}

/**
 * Writes it beside `path` and renames it when all of it is on stable storage; only this user can
 * read it.
 *
 * @param onProgress - octets of the sources read
 */
export async function writeArchive(
  path: string,
  described: Omit<Contents, "version" | "members">,
  sources: readonly Source[],
  onProgress: (octets: number) => void = () => undefined,
): Promise<Contents> {
  const members = sources.map(({ name, octets, sha256 }) => ({ name, octets, sha256 }));
  const contents: Contents = { version: 1, ...described, members };
  const temporary = `${path}.part`;
  await rm(temporary, { force: true });
  try {
    await pipeline(
      Readable.from(blocksOf(contents, sources, onProgress)),
      createZstdCompress({ params: { [constants.ZSTD_c_checksumFlag]: 1 } }), // of the first member, too
      createWriteStream(temporary, { flags: "wx", mode: 0o600, flush: true }),
    );
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
  return contents;
}

async function* blocksOf(
  contents: Contents,
  sources: readonly Source[],
  onProgress: (octets: number) => void,
): AsyncGenerator<Buffer, void> {
  const title = Buffer.from(`${JSON.stringify(contents, null, 2)}\n`);
  yield headerOf(titleName, title.length, contents.at);
  yield title;
  yield paddingOf(title.length);
  let read = 0;
  for (const { name, path, octets } of sources) {
    yield headerOf(name, octets, contents.at);
    let sent = 0;
    for await (const part of createReadStream(path) as AsyncIterable<Buffer>) {
      sent += part.length;
      read += part.length;
      onProgress(read);
      if (sent > octets) break;
      yield part;
    }
    if (sent !== octets) throw new ConfigurationError(`${path} was changed while it was read`);
    yield paddingOf(octets);
  }
  yield Buffer.alloc(2 * block);
}

function headerOf(path: string, size: number, at: string): Buffer {
  const header = new Header({ path, size, type: "File", mode: 0o600, mtime: new Date(at) });
  const octets = Buffer.alloc(block);
  header.encode(octets);
  return octets;
}

function paddingOf(octets: number): Buffer {
  return Buffer.alloc((block - (octets % block)) % block);
}

export interface Reading {
  /** What it must be; absent: either. */
  readonly kind?: Contents["kind"];
  /** Where its members go, on stable storage in the end; absent: nowhere. */
  readonly directory?: string;
  /** Octets read of those it should have. */
  readonly onProgress?: (octets: number, total: number) => void;
}

/**
 * Reads all of it and compares every digest.
 *
 * @throws ConfigurationError naming what is damaged, missing or strange, UnavailableError without room
 */
export async function readArchive(path: string, reading: Reading = {}): Promise<Contents> {
  try {
    const plain = decompress("zstd", createReadStream(path));
    return await readMembers(createReader(plain), reading);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const reason = cause instanceof Error ? cause.message : String(cause);
    if (code === "ENOSPC") throw new UnavailableError(`no room in ${reading.directory}`, { cause });
    throw new ConfigurationError(`${path} cannot be used as a backup: ${reason}`, { cause });
  }
}

async function readMembers(
  reader: Reader,
  { kind, directory, onProgress = () => undefined }: Reading,
): Promise<Contents> {
  const title = await nextMember(reader);
  if (title?.name !== titleName || title.octets > titleLimit) throw new RangeError("it is none");
  const contents = contentsOf(Buffer.concat(await Array.fromAsync(title.content)).toString());
  if (kind !== undefined && kind !== contents.kind) {
    throw new RangeError(`it is of the ${contents.kind}, not of the ${kind}`);
  }
  const total = contents.members.reduce((sum, { octets }) => sum + octets, 0);
  const missing = new Map(contents.members.map((member) => [member.name, member]));
  let read = 0;
  for (let next = await nextMember(reader); next; next = await nextMember(reader)) {
    const { name, octets, content } = next;
    const wanted = missing.get(name);
    if (wanted?.octets !== octets || !allowed.test(name)) {
      throw new RangeError(`it holds ${JSON.stringify(name)} of ${octets} octets, unannounced`);
    }
    missing.delete(name);
    const hash = createHash("sha256");
    const file = directory === undefined ? undefined : await make(join(directory, name));
    try {
      for await (const part of content) {
        hash.update(part);
        await file?.writeFile(part);
        read += part.length;
        onProgress(read, total);
      }
      await file?.sync();
    } finally {
      await file?.close();
    }
    if (hash.digest("hex") !== wanted.sha256) throw new RangeError(`${name} is damaged`);
  }
  const [lost] = missing.keys();
  if (lost !== undefined) throw new RangeError(`${lost} is missing`);
  return contents;
}

function contentsOf(text: string): Contents {
  const contents = JSON.parse(text) as Contents;
  if (contents.version === 1) return contents;
  throw new RangeError(`it has version ${contents.version}, this marcoboot knows 1`);
}

async function make(path: string): Promise<FileHandle> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  return await open(path, "wx", path.endsWith("/image") ? 0o444 : 0o600);
}

interface Next {
  readonly name: string;
  readonly octets: number;
  /** To be read to its end before the next one. */
  readonly content: AsyncIterable<Buffer>;
}

/** Undefined at the end marker. @throws RangeError where the archive is cut or no plain file comes */
async function nextMember(reader: Reader): Promise<Next | undefined> {
  const header = new Header(await reader.take(block));
  if (header.nullBlock) return undefined;
  const { path, size, type, cksumValid } = header;
  if (!cksumValid || path === undefined || size === undefined || type !== "File") {
    throw new RangeError("it is damaged between its members");
  }
  const content = async function* () {
    yield* reader.pass(size);
    await reader.take(paddingOf(size).length);
  };
  return { name: path, octets: size, content: content() };
}

interface Reader {
  /** Exactly so many octets. @throws RangeError when fewer are left */
  take(octets: number): Promise<Buffer>;
  pass(octets: number): AsyncGenerator<Buffer, void>;
}

function createReader(source: AsyncIterable<Buffer>): Reader {
  const parts = source[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);
  const pass = async function* (octets: number) {
    for (let left = octets; left > 0; ) {
      if (rest.length === 0) {
        const { value, done } = await parts.next();
        if (done) throw new RangeError("it is cut off");
        rest = value;
      }
      const part = rest.subarray(0, left);
      rest = rest.subarray(part.length);
      left -= part.length;
      yield part;
    }
  };
  return {
    pass,
    take: async (octets) => Buffer.concat(await Array.fromAsync(pass(octets))),
  };
}
