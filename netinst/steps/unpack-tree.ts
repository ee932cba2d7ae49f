/**
 * Unpacks a root file system from a tar stream.
 *
 * The archive is read and checked here, and what it says is said again to GNU tar, which makes the
 * files: owners by number, modes, times, hard links, extended attributes. So GNU tar never reads an
 * octet of a header that somebody else wrote.
 *
 * Symbolic links are made last: nothing is ever written through one, and absolute ones
 * (`/etc/alternatives/awk -> /usr/bin/mawk`) stay as they are.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, constants, openSync, readSync } from "node:fs";
import { crc32 } from "node:zlib";
import { createEntryCheck, keyOf, specialTypes, type TarEntry } from "../../images/tar/entry.ts";
import { createTarReader } from "../../images/tar/reader.ts";
import { endMarker, headersOf, paddingAfter } from "../../images/tar/writer.ts";
import { DiskError, InstallRefusedError } from "../errors.ts";
import { commandOf } from "../tools.ts";

export interface TreeUnpacker extends AsyncDisposable {
  /** Resolves when more may come. @throws InstallRefusedError */
  write(chunk: Buffer): Promise<void>;
  /** Resolves when everything is there. @throws InstallRefusedError */
  end(): Promise<Unpacked>;
}

export interface Unpacked {
  /** Devices and pipes left out, which the OS makes itself. */
  readonly skipped: number;
  /** CRC-32 of each file as it came, by its name in the tree (one character per octet). */
  readonly sums: ReadonlyMap<string, number>;
  /** What GNU tar had to say, such as attributes that this file system does not take. */
  readonly warnings: string;
}

/** @param directory - the empty tree, already mounted; must be called as root for owners to hold */
export function openTreeUnpacker(directory: string): TreeUnpacker {
  const tar = startTar(directory);
  const sums = new Map<string, number>();
  const links: TarEntry[] = [];
  const check = createEntryCheck();
  let skipped = 0;
  /** Of the chunk that is being read. */
  let output: Buffer[] = [];
  let file: { readonly key: string; left: number; readonly size: number } | undefined;
  const finishFile = () => {
    if (file?.left === 0) {
      output.push(paddingAfter(file.size));
      file = undefined;
    }
  };
  const reader = createTarReader({
    entry: (entry) => {
      if (specialTypes.has(entry.type)) {
        skipped++;
        return;
      }
      const why = check.refusal(entry);
      if (why) throw new InstallRefusedError(why);
      const key = keyOf(entry.path);
      sums.delete(key); // of two files of one name the last counts
      const isLate = entry.type === "link" && check.isSymbolicLink(keyOf(entry.target));
      if (entry.type === "symbolic link" || isLate) {
        links.push(entry);
        return;
      }
      output.push(headersOf(entry));
      if (entry.type !== "file") return;
      sums.set(key, 0);
      file = { key, left: entry.size, size: entry.size };
      finishFile();
    },
    content: (part) => {
      if (!file) return;
      sums.set(file.key, crc32(part, sums.get(file.key)));
      output.push(part);
      file.left -= part.length;
      finishFile();
    },
  });
  const pass = async () => {
    const octets = Buffer.concat(output);
    output = [];
    if (octets.length > 0) await tar.write(octets);
  };
  const reading = (work: () => void) => {
    try {
      work();
    } catch (cause) {
      throw new InstallRefusedError("the root file system cannot be unpacked", { cause });
    }
  };
  return {
    write: async (chunk) => {
      reading(() => reader.write(chunk));
      await pass();
    },
    end: async () => {
      reading(() => reader.end());
      for (const link of links) {
        output.push(headersOf(link));
        if (output.length >= 1000) await pass();
      }
      output.push(endMarker);
      await pass();
      return { skipped, sums, warnings: await tar.end() };
    },
    [Symbol.asyncDispose]: () => tar.stop(),
  };
}

interface Tar {
  /** @throws InstallRefusedError with tar's last words when it has given up */
  write(octets: Buffer): Promise<void>;
  /** @returns what it said. @throws InstallRefusedError */
  end(): Promise<string>;
  /** Resolves when the process is gone: the file system can be unmounted. */
  stop(): Promise<void>;
}

function startTar(directory: string): Tar {
  const [program, args] = commandOf("tar", [
    ...["--extract", "--file=-", `--directory=${directory}`, "--blocking-factor=512"],
    ...["--absolute-names", "--delay-directory-restore", "--warning=no-timestamp"],
    ...["--same-permissions", "--numeric-owner", "--xattrs", "--xattrs-include=*"],
    process.getuid?.() === 0 ? "--same-owner" : "--no-same-owner",
  ]);
  const child = spawn(program, [...args], {
    stdio: ["pipe", "ignore", "pipe"],
    env: { ...process.env, LC_ALL: "C" }, // else names that are no text in this locale are converted
  });
  let said = "";
  child.stderr.on("data", (part: Buffer) => {
    said = (said + part.toString("latin1")).slice(0, 2000);
  });
  child.stdin.on("error", () => undefined); // it gave up: its exit code says why
  const ended = endOf(child, () => said.trim());
  const gone = ended.then(
    () => undefined,
    () => undefined,
  );
  return {
    write: async (octets) => {
      if (child.stdin.write(octets)) return;
      await Promise.race([
        new Promise<void>((resolve) => child.stdin.once("drain", resolve)),
        ended.then(() => undefined),
      ]);
    },
    end: async () => {
      child.stdin.end();
      await ended;
      return said.trim();
    },
    stop: async () => {
      child.kill("SIGKILL");
      await gone;
    },
  };
}

function endOf(child: ChildProcess, saying: () => string): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: Error) =>
      reject(new InstallRefusedError("the root file system cannot be unpacked", { cause }));
    child.on("error", refuse);
    child.on("close", (code, signal) => {
      if (code === 0) resolve();
      else refuse(new Error(`tar ended with ${signal ?? code}: ${saying()}`));
    });
  });
}

const readOctets = 1 << 20;
/** File after file is read without a pause, which is several times as fast; then others get their turn. */
const turnMs = 50;

/**
 * Reads the files of an unpacked tree back.
 *
 * @param tick - called with the octets read so far
 * @throws DiskError naming the first that is not as it came
 */
export async function verifyTree(
  directory: string,
  sums: Unpacked["sums"],
  tick: (octets: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const buffer = Buffer.allocUnsafe(readOctets);
  let done = 0;
  let turnEnds = 0;
  for (const [name, wanted] of sums) {
    let sum = 0;
    for (const part of partsOf(directory, name, buffer)) {
      sum = crc32(part, sum);
      done += part.length;
      if (performance.now() < turnEnds) continue;
      tick(done);
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
      turnEnds = performance.now() + turnMs;
    }
    if (sum === wanted) continue;
    const path = Buffer.from(name, "latin1").toString();
    throw new DiskError(`the disk returns other bytes of /${path} than were written`);
  }
  tick(done);
}

function* partsOf(directory: string, name: string, buffer: Buffer): Generator<Buffer, void> {
  const path = Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(name, "latin1")]);
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    for (;;) {
      const length = readSync(file, buffer, 0, readOctets, null);
      if (length === 0) return;
      yield buffer.subarray(0, length);
    }
  } finally {
    closeSync(file);
  }
}
