/**
 * The file of the dynamic leases: what was promised to whom, and until when.
 *
 * It is appended to, never changed in place. Each line is one commit: a checksum
 * and a JSON list of records, of which the last for an address counts. The file
 * is filled with NULs ahead of its end, so that a commit moves no file size and
 * the disk has one thing to do. Group commit: while one write is under way, the
 * records of everybody else gather into the next.
 *
 *   marcoboot-leases 1\n
 *   8a5f0c21 [["10.77.0.100","p","52:54:00:00:00:01",1800000000000]]\n
 *   01bc77ee [["10.77.0.101","d","52:54:00:00:00:02",1800000600000],["10.77.0.100","f"]]\n
 *   \0\0\0...
 *
 * A commit begins when the one before it is on stable storage, so a power cut
 * can tear the last line only: that one was acknowledged to nobody and is cut.
 * A line that is wrong before a right one is damage: the file is refused.
 */

import { readFileSync, write, writeSync } from "node:fs";
import { constants, type FileHandle, open, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import {
  type Instant,
  type Ipv4Address,
  instant,
  type MacAddress,
  parseIpv4Address,
  parseMacAddress,
} from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";
import { ConfigurationError, UnavailableError } from "../errors.ts";
import { syncDirectory } from "../store/durable-file.ts";

export type LeaseRecord =
  /** The address is this client's until then, whether it took the offer or not. */
  | {
      readonly state: "promised";
      readonly address: Ipv4Address;
      readonly mac: MacAddress;
      readonly until: Instant;
      /** Option 61 in hexadecimal digits, of a client that is known by it. */
      readonly clientId?: string;
    }
  /** In use by somebody else: offered to nobody until then. `mac`: who found out. */
  | {
      readonly state: "declined";
      readonly address: Ipv4Address;
      readonly mac: MacAddress;
      readonly until: Instant;
    }
  | { readonly state: "free"; readonly address: Ipv4Address };

type Live = () => Iterable<LeaseRecord>;

export interface LeaseFile {
  /** What the file said when it was opened: one record per address, none that is free. */
  readonly found: readonly LeaseRecord[];
  /**
   * Resolves when the records are on stable storage. Called again only after that.
   *
   * @param live - everything worth keeping, for when the file is written anew
   * @throws UnavailableError when the disk refuses; the same records may be tried again.
   */
  append(records: readonly LeaseRecord[], live: Live): Promise<void>;
  /** Waits for what is under way, then closes. */
  close(): Promise<void>;
}

const header = "marcoboot-leases ";
const version = 1;
const letters = { promised: "p", declined: "d", free: "f" } as const;
/** Octets filled with NULs at a time. */
const chunk = 1 << 20;
/** A file is written anew when it has this many octets and four times what it had when it was new. */
const leastRewritten = 8 << 20;
/** Below this a commit is quicker than to hand it to another thread and wait to be woken. */
const quickMs = 1;
/** Records per line, and per turn of the event loop, when the file is written anew. */
const slice = 500;

/**
 * Reads the file and writes it anew; a missing one is made.
 *
 * @param path - created with mode 0600
 * @param imported - records from elsewhere, for a file that is not there yet
 * @throws ConfigurationError when it is damaged, no lease file, or of a newer version.
 */
export async function openLeaseFile(
  path: string,
  clock: Pick<Clock, "monotonic">,
  imported: readonly LeaseRecord[] = [],
): Promise<LeaseFile> {
  const bytes = readIfThere(path);
  const found = bytes ? decodeLeaseFile(bytes, path) : imported;
  const file = new AppendedFile(path, clock);
  await file.start(found);
  return {
    found,
    append: (records, live) => file.append(records, live),
    close: () => file.close(),
  };
}

/**
 * The records in the octets of a lease file: the last of each address, none that is free.
 *
 * @throws ConfigurationError naming the octet from which on it is damaged
 */
export function decodeLeaseFile(bytes: Uint8Array, path: string): readonly LeaseRecord[] {
  const refuse = (reason: string, cause?: unknown) =>
    new ConfigurationError(
      `lease file ${path}: ${reason}: restore a backup, or move it away and lose its leases`,
      { cause },
    );
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const first = text.indexOf("\n");
  const title = text.subarray(0, Math.max(first, 0)).toString("latin1");
  if (!title.startsWith(header)) throw refuse("it does not begin as one");
  if (title !== `${header}${version}`) {
    throw refuse(`it has version ${title.slice(header.length)}, this marcoboot knows ${version}`);
  }
  const records = new Map<Ipv4Address, LeaseRecord>();
  let torn: number | undefined;
  for (let start = first + 1; start < text.length; ) {
    const end = text.indexOf("\n", start);
    const line = decodeLine(text.subarray(start, end < 0 ? text.length : end));
    if (line && end >= 0) {
      if (torn !== undefined) throw refuse(`damaged from octet ${torn} on`);
      for (const record of line) records.set(record.address, record);
    } else {
      torn ??= start;
    }
    if (end < 0) break;
    start = end + 1;
  }
  return [...records.values()].filter((record) => record.state !== "free");
}

/** One commit as a line. */
export function encodeLine(records: readonly LeaseRecord[]): string {
  const body = JSON.stringify(records.map(toRow));
  return `${checksum(body)} ${body}\n`;
}

function toRow(record: LeaseRecord): readonly (string | number)[] {
  const letter = letters[record.state];
  switch (record.state) {
    case "free":
      return [record.address, letter];
    case "declined":
      return [record.address, letter, record.mac, Math.trunc(record.until)];
    case "promised": {
      const { address, mac, until, clientId } = record;
      const row = [address, letter, mac, Math.trunc(until)];
      return clientId === undefined ? row : [...row, clientId];
    }
  }
}

/** `undefined`: torn or damaged. */
function decodeLine(line: Buffer): readonly LeaseRecord[] | undefined {
  const body = line.subarray(9);
  if (line.subarray(0, 9).toString("latin1") !== `${checksum(body)} `) return undefined;
  return (JSON.parse(body.toString("utf8")) as readonly unknown[][]).map(fromRow);
}

/** Only {@link toRow} wrote it: the checksum was right. */
function fromRow([address, letter, mac, until, clientId]: readonly unknown[]): LeaseRecord {
  const free = { state: "free", address: parseIpv4Address(String(address)) } as const;
  if (letter === letters.free) return free;
  const held = {
    address: free.address,
    mac: parseMacAddress(String(mac)),
    until: instant(Number(until)),
  };
  if (letter === letters.declined) return { state: "declined", ...held };
  return {
    state: "promised",
    ...held,
    ...(clientId !== undefined && { clientId: String(clientId) }),
  };
}

function checksum(body: string | Uint8Array): string {
  return crc32(body).toString(16).padStart(8, "0");
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new ConfigurationError(`lease file ${path} cannot be read`, { cause: error });
  }
}

/** A file that is open for appending; every write to it is on stable storage when it returns. */
interface Opened {
  readonly handle: FileHandle;
  /** Octets it had when it was whole and new. */
  readonly fresh: number;
  /** Where the next line goes. */
  end: number;
  /** Up to here it is filled with NULs, or was never written. */
  filled: number;
  /** How long its writes take lately. */
  usualMs: number;
}

class AppendedFile {
  readonly #path: string;
  readonly #clock: Pick<Clock, "monotonic">;
  #file: Opened | undefined;
  #appending: Promise<unknown> = Promise.resolve();
  #rewriting: Promise<unknown> | undefined;
  /** Written beside commits; the next one of them appends `#since` and takes it. */
  #successor: Opened | undefined;
  /** Lines since the successor was begun. */
  #since: string[] = [];
  /** After any failure but "no space" the file is not trusted: the next commit starts a new one. */
  #isSuspect = false;

  constructor(path: string, clock: Pick<Clock, "monotonic">) {
    this.#path = path;
    this.#clock = clock;
  }

  async start(found: readonly LeaseRecord[]): Promise<void> {
    try {
      await this.#take(await writeNew(this.#temporary, found), "");
    } catch (cause) {
      throw new ConfigurationError(`lease file ${this.#path} cannot be written`, { cause });
    }
  }

  append(records: readonly LeaseRecord[], live: Live): Promise<void> {
    const appended = this.#append(encodeLine(records), live);
    this.#appending = appended.catch(() => undefined); // the caller is told
    return appended;
  }

  async close(): Promise<void> {
    await this.#appending;
    await this.#rewriting;
    await this.#drop(this.#successor);
    await this.#file?.handle.close();
    this.#file = undefined;
  }

  get #temporary(): string {
    return `${this.#path}.new`;
  }

  async #append(line: string, live: Live): Promise<void> {
    try {
      if (this.#isSuspect) await this.#startAnew(line, live());
      else if (this.#successor) await this.#take(this.#successor, this.#since.join("") + line);
      else {
        if (!this.#file) throw new RangeError("it is closed");
        await appendTo(this.#file, line, this.#clock);
        if (this.#rewriting !== undefined) this.#since.push(line);
        else if (this.#file.end > Math.max(leastRewritten, 4 * this.#file.fresh)) {
          this.#rewriting = this.#rewrite(live());
        }
      }
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "ENOSPC") this.#isSuspect = true;
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new UnavailableError(`the lease file cannot be written: ${reason}`, { cause });
    }
  }

  /** Never rejects: the old file goes on. */
  async #rewrite(records: Iterable<LeaseRecord>): Promise<void> {
    this.#since = [];
    try {
      this.#successor = await writeNew(this.#temporary, records);
    } catch {
      this.#rewriting = undefined;
    }
  }

  async #startAnew(line: string, records: Iterable<LeaseRecord>): Promise<void> {
    await this.#rewriting;
    await this.#drop(this.#successor);
    await this.#take(await writeNew(this.#temporary, records), line);
    this.#isSuspect = false;
  }

  /** Makes `next` the file. */
  async #take(next: Opened, lines: string): Promise<void> {
    if (lines !== "") await appendTo(next, lines, this.#clock);
    await rename(this.#temporary, this.#path);
    await syncDirectory(dirname(this.#path));
    await this.#file?.handle.close();
    this.#file = next;
    this.#successor = undefined;
    this.#rewriting = undefined;
  }

  async #drop(successor: Opened | undefined): Promise<void> {
    this.#successor = undefined;
    this.#rewriting = undefined;
    if (!successor) return;
    await successor.handle.close();
    await unlink(this.#temporary).catch(() => undefined); // the next one overwrites it
  }
}

async function writeNew(path: string, records: Iterable<LeaseRecord>): Promise<Opened> {
  const all = [...records]; // as they are now: later changes come as lines
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC | constants.O_DSYNC;
  const handle = await open(path, flags, 0o600);
  try {
    let end = await writeAll(handle, Buffer.from(`${header}${version}\n`), 0);
    for (let start = 0; start < all.length; start += slice) {
      const line = encodeLine(all.slice(start, start + slice));
      end = await writeAll(handle, Buffer.from(line), end);
    }
    return { handle, fresh: end, end, filled: end, usualMs: 0 };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Moves the end when the line is on stable storage; on an error it may be there in part. */
async function appendTo(
  file: Opened,
  line: string,
  clock: Pick<Clock, "monotonic">,
): Promise<void> {
  const bytes = Buffer.from(line);
  const end = file.end + bytes.length;
  if (end > file.filled) {
    try {
      const filled = end + chunk;
      await writeAll(file.handle, Buffer.alloc(filled - file.end), file.end);
      file.filled = filled;
    } catch {
      // A full disk: the line itself may still fit, and tells when it does not.
    }
  }
  const start = clock.monotonic();
  file.end =
    file.usualMs < quickMs
      ? writeAtOnce(file.handle, bytes, file.end)
      : await writeAll(file.handle, bytes, file.end);
  file.usualMs += (clock.monotonic() - start - file.usualMs) / 8;
}

/** Holds everything up for the time the disk takes, and spares two threads a wake-up each. */
function writeAtOnce({ fd }: FileHandle, bytes: Buffer, position: number): number {
  let done = 0;
  while (done < bytes.length) {
    done += writeSync(fd, bytes, done, bytes.length - done, position + done);
  }
  return position + done;
}

/** @returns the offset after the last octet */
function writeAll({ fd }: FileHandle, bytes: Buffer, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const from = (done: number) =>
      write(fd, bytes, done, bytes.length - done, position + done, (error, written) => {
        if (error) return reject(error);
        if (done + written < bytes.length) return from(done + written);
        resolve(position + bytes.length);
      });
    from(0);
  });
}
