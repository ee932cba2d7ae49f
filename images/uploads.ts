/**
 * What agents send of their disks, until the library has taken it.
 *
 *   <directory>/<task>.<epoch>.part       so much of it as has arrived
 *   <directory>/<task>.<epoch>.<sha-256>  whole and on the disk; what it should hold is in its name
 *
 * Parts may be repeated, and a part that comes again ends the file where it ends itself: an agent
 * whose answer was lost, or whose server was killed, goes on where it was. What was put together
 * wrongly has another digest, which the library finds.
 */

import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { type FileHandle, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { TaskId } from "#protocol/brand.ts";
import { ConflictError } from "../server/errors.ts";
import { syncDirectory } from "../server/store/durable-file.ts";
import { refuseWithoutRoom } from "./room.ts";

/** One attempt at a task. */
export interface UploadKey {
  readonly taskId: TaskId;
  readonly epoch: number;
}

export interface Upload {
  readonly path: string;
  /** sha-256 in hex, as its sender says. */
  readonly digest: string;
}

export interface Uploads {
  /** What earlier attempts sent goes. @throws ConflictError when what comes before `at` is not here, UnavailableError without room */
  write(key: UploadKey, at: number, bytes: Uint8Array): Promise<void>;
  /** On stable storage when it returns; again: nothing happens. @throws ConflictError unless `octets` are here */
  finish(key: UploadKey, octets: number, digest: string): Promise<void>;
  /** Undefined unless it was finished. */
  finished(key: UploadKey): Promise<Upload | undefined>;
  /** Removes what any attempt at the task sent. */
  discard(taskId: TaskId): Promise<void>;
}

/** Dirty octets allowed before a flush: the last one is short, and what is sent waits for the disk. */
const flushEvery = 32 << 20;

/** @param isWanted - whether the task still runs: what others sent before this start is removed */
export function createUploads(directory: string, isWanted: (task: TaskId) => boolean): Uploads {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(directory)) {
    if (!isWanted(taskOf(name))) rmSync(join(directory, name), { force: true });
  }
  const stem = ({ taskId, epoch }: UploadKey) => `${taskId}.${epoch}.`;
  const isOf = (key: UploadKey, name: string) => name.startsWith(stem(key));
  const remove = async (isToGo: (name: string) => boolean): Promise<void> => {
    const names = (await readdir(directory)).filter(isToGo);
    await Promise.all(names.map((name) => rm(join(directory, name), { force: true })));
  };
  const partOf = (key: UploadKey) => join(directory, `${stem(key)}part`);

  const finished: Uploads["finished"] = async (key) => {
    const names = await readdir(directory);
    const name = names.find((one) => isOf(key, one) && !one.endsWith(".part"));
    if (name === undefined) return undefined;
    return { path: join(directory, name), digest: name.slice(stem(key).length) };
  };

  return {
    async write(key, at, bytes) {
      if (at === 0) await remove((name) => taskOf(name) === key.taskId && !isOf(key, name));
      await refuseWithoutRoom(directory, bytes.length);
      await using file = await openOrMake(partOf(key));
      const { size } = await file.stat();
      if (at > size) throw new ConflictError(`${size} octets are here, the part begins at ${at}`);
      await file.write(bytes, 0, bytes.length, at);
      const end = at + bytes.length;
      if (end < size) await file.truncate(end);
      if (Math.floor(at / flushEvery) < Math.floor(end / flushEvery)) await file.datasync();
    },

    async finish(key, octets, digest) {
      if ((await finished(key))?.digest === digest) return;
      const { size } = await stat(partOf(key)).catch(() => ({ size: 0 }));
      if (size === 0 || size !== octets)
        throw new ConflictError(`${size} octets are here, not ${octets}`);
      await using file = await open(partOf(key), "r+");
      await file.sync();
      await rename(partOf(key), join(directory, `${stem(key)}${digest}`));
      await syncDirectory(directory);
    },

    finished,

    discard: (taskId) => remove((name) => taskOf(name) === taskId),
  };
}

function taskOf(name: string): TaskId {
  return name.split(".")[0] as TaskId;
}

async function openOrMake(path: string): Promise<FileHandle> {
  try {
    return await open(path, "r+");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return await open(path, "wx+", 0o600);
  }
}
