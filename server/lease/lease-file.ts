/**
 * The file of the dynamic leases: what was promised to whom, and until when.
 *
 * It is appended to, never changed in place (lease-format.ts). It is filled with NULs
 * ahead of its end, so that a commit moves no file size and the disk has one thing to
 * do, and written anew beside the commits when the fill runs out. Group commit: while
 * one write is under way, the records of everybody else gather into the next, which
 * begins when the one before it is on stable storage.
 */

import { readFileSync, statSync } from "node:fs";
import { type FileHandle, open, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { after, type Milliseconds } from "#protocol/brand.ts";
import type { Clock, MachineBoot } from "../clock.ts";
import { ConfigurationError, UnavailableError } from "../errors.ts";
import type { Log } from "../log.ts";
import { syncDirectory } from "../store/durable-file.ts";
import { type BlockFile, openBlockFile } from "./block-file.ts";
import { decodeLeaseFile, encodeLeaseFile, encodeLine, type LeaseRecord } from "./lease-format.ts";

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
  /** Whether somebody removed the file, or put another in its place: the next append writes it anew then. */
  isLost(): boolean;
  /** Waits for what is under way, then closes. */
  close(): Promise<void>;
}

const mebibyte = 1 << 20;
/** Octets of NULs behind the records of a new file, at least; three times the records if that is more. */
const leastFill = 12 * mebibyte;
/** And for the commits that come while the next file is written. */
const reserve = 4 * mebibyte;

export interface LeaseFileContext {
  readonly clock: Pick<Clock, "monotonic">;
  readonly log: Pick<Log, "warn">;
  /**
   * By the clock that leases end by. What the file says from this very boot is set to that clock; of
   * another boot nobody knows what its clock was.
   */
  readonly boot?: MachineBoot;
}

/**
 * Reads the file and writes it anew; a missing one is made.
 *
 * @param path - created with mode 0600
 * @param imported - records from elsewhere, for a file that is not there yet
 * @throws ConfigurationError when it is damaged, no lease file, or of a newer version.
 */
export async function openLeaseFile(
  path: string,
  context: LeaseFileContext,
  imported: readonly LeaseRecord[] = [],
): Promise<LeaseFile> {
  const { log } = context;
  const bytes = readIfThere(path);
  const { records, boot, torn } = bytes ? decodeLeaseFile(bytes, path) : { records: imported };
  const found = records.map((record) => setTo(context, boot, record));
  if (torn !== undefined) {
    log.warn(
      { path, octet: torn },
      "lease file: its last write did not end and is cut, nobody was told of it",
    );
  }
  const file = new AppendedFile(path, context);
  await file.start(found);
  return {
    found,
    append: (records, live) => file.append(records, live),
    isLost: () => file.isLost(),
    close: () => file.close(),
  };
}

/** The record by our clock: whoever set the machine's clock meanwhile ended no lease, and made none longer. */
function setTo(
  { boot: present }: LeaseFileContext,
  before: MachineBoot | undefined,
  record: LeaseRecord,
): LeaseRecord {
  if (!present || before?.id !== present.id || record.state === "free") return record;
  const by = (present.began - before.began) as Milliseconds;
  return { ...record, until: after(record.until, by) };
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new ConfigurationError(`lease file ${path} cannot be read`, { cause: error });
  }
}

/** A file that is open for appending. */
interface Opened {
  readonly blocks: BlockFile;
  readonly inode: number;
  /** Beyond this the next file is begun. */
  rewriteAt: number;
}

class AppendedFile {
  readonly #path: string;
  readonly #context: LeaseFileContext;
  #file: Opened | undefined;
  #appending: Promise<unknown> = Promise.resolve();
  #rewriting: Promise<unknown> | undefined;
  /** Open and not yet taken. Written beside commits, the next one of them appends `#since` and takes it. */
  #successor: Opened | undefined;
  /** Lines since the successor was begun. */
  #since: Buffer[] = [];
  /** After any failure but "no space", or when it was removed, the file is not trusted: the next commit starts a new one. */
  #isSuspect = false;

  constructor(path: string, context: LeaseFileContext) {
    this.#path = path;
    this.#context = context;
  }

  async start(found: readonly LeaseRecord[]): Promise<void> {
    try {
      this.#successor = await writeNew(this.#temporary, found, this.#context);
      await this.#take(this.#successor);
    } catch (cause) {
      await this.#drop(this.#successor);
      throw new ConfigurationError(`lease file ${this.#path} cannot be written`, { cause });
    }
  }

  append(records: readonly LeaseRecord[], live: Live): Promise<void> {
    const appended = this.#append(encodeLine(records), live);
    this.#appending = appended.catch(() => undefined); // the caller is told
    return appended;
  }

  isLost(): boolean {
    const found = statSync(this.#path, { throwIfNoEntry: false })?.ino;
    if (!this.#file || this.#isSuspect || found === this.#file.inode) return this.#isSuspect;
    const text = "lease file: somebody removed it under the running server, it is written again";
    this.#context.log.warn({ path: this.#path }, text);
    this.#isSuspect = true;
    return true;
  }

  async close(): Promise<void> {
    await this.#appending;
    await this.#rewriting;
    await this.#drop(this.#successor);
    await this.#file?.blocks.close();
    this.#file = undefined;
  }

  get #temporary(): string {
    return `${this.#path}.new`;
  }

  async #append(line: Buffer, live: Live): Promise<void> {
    try {
      if (this.#isSuspect) await this.#startAnew(line, live());
      else if (this.#successor)
        await this.#take(this.#successor, Buffer.concat([...this.#since, line]));
      else {
        if (!this.#file) throw new RangeError("it is closed");
        await this.#file.blocks.append(line);
        if (this.#rewriting !== undefined) this.#since.push(line);
        else if (this.#file.blocks.end > this.#file.rewriteAt) {
          this.#file.rewriteAt += reserve; // for when this one fails
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
      this.#successor = await writeNew(this.#temporary, records, this.#context);
    } catch {
      this.#rewriting = undefined;
    }
  }

  async #startAnew(line: Buffer, records: Iterable<LeaseRecord>): Promise<void> {
    await this.#rewriting;
    await this.#drop(this.#successor);
    this.#successor = await writeNew(this.#temporary, records, this.#context);
    await this.#take(this.#successor, line);
    this.#isSuspect = false;
  }

  /** Makes `next`, the successor, the file; where that fails it stays the successor. */
  async #take(next: Opened, lines?: Buffer): Promise<void> {
    if (lines) await next.blocks.append(lines);
    await rename(this.#temporary, this.#path);
    await syncDirectory(dirname(this.#path));
    await this.#file?.blocks.close();
    this.#file = next;
    this.#successor = undefined;
    this.#rewriting = undefined;
  }

  async #drop(successor: Opened | undefined): Promise<void> {
    this.#successor = undefined;
    this.#rewriting = undefined;
    if (!successor) return;
    await successor.blocks.close();
    await unlink(this.#temporary).catch(() => undefined); // the next one overwrites it
  }
}

async function writeNew(
  path: string,
  records: Iterable<LeaseRecord>,
  { clock, boot }: LeaseFileContext,
): Promise<Opened> {
  const all = [...records]; // as they are now: later changes come as lines
  const handle = await open(path, "w", 0o600);
  let end = 0;
  let rewriteAt = 0;
  let inode = 0;
  try {
    inode = (await handle.stat()).ino;
    for (const lines of encodeLeaseFile(all, boot)) {
      await handle.writeFile(lines);
      end += lines.length;
    }
    rewriteAt = end + Math.max(leastFill, 3 * end);
    await fill(handle, end, rewriteAt + reserve);
    await handle.sync();
  } finally {
    await handle.close();
  }
  return { blocks: await openBlockFile(path, end, clock), inode, rewriteAt };
}

async function fill(handle: FileHandle, from: number, to: number): Promise<void> {
  const nothing = Buffer.alloc(mebibyte);
  try {
    for (let at = from; at < to; at += mebibyte) {
      await handle.writeFile(nothing);
      await handle.datasync(); // a commit of the former file does not wait for all of it
    }
  } catch {
    await handle.truncate(from); // a full disk: a commit may still fit, and tells when it does not
  }
}
