/**
 * Carries files from the system that runs into the one that is being written: owners, modes, times,
 * symbolic and hard links, extended attributes. They are packed as a capture packs them, and
 * unpacked as an install does.
 */

import type { Stats } from "node:fs";
import { chmod, lchown, lstat, lutimes, readdir, rm } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { InstallRefusedError } from "../errors.ts";
import { openRootTree } from "../root-tree.ts";
import { tarOf, type Walked, walk } from "./capture-tree.ts";
import { openTreeUnpacker } from "./unpack-tree.ts";

/** What makes a system this node's, besides what is written anew at each install. */
export async function identityPaths(directory: string): Promise<readonly string[]> {
  const ssh = openRootTree(directory).find("/etc/ssh");
  const names = ssh === undefined ? [] : await readdir(ssh);
  const keys = names.filter((name) => name.startsWith("ssh_host_"));
  return ["/etc/machine-id", ...keys.map((name) => `/etc/ssh/${name}`)];
}

export interface Kept {
  readonly path: string;
  /** Files and links; undefined: there is no such path in the old system. */
  readonly count: number | undefined;
}

/** One of the paths, where it lies and where it shall. */
interface Carried {
  readonly path: string;
  readonly source: string;
  readonly target: string;
  readonly walked: Walked;
}

/**
 * What lies at these paths in the new tree gives way.
 *
 * @throws InstallRefusedError naming the path that cannot be carried over
 */
export async function copyKept(
  from: string,
  to: string,
  paths: readonly string[],
  signal: AbortSignal,
): Promise<readonly Kept[]> {
  const [old, fresh] = [openRootTree(from), openRootTree(to)];
  const carried: Carried[] = [];
  for (const path of paths) {
    const source = old.find(path);
    if (source === undefined) continue;
    await keeping(path, signal, async () => {
      const target = fresh.locate(path);
      await rm(target, { recursive: true, force: true });
      await ownersAbove(dirname(source), dirname(target), old.directory);
      carried.push({ path, source, target, walked: { files: 0, special: 0, leftOut: [] } });
    });
  }
  const besides = ({ source, target }: Carried) => `${dirname(source)}\n${dirname(target)}`;
  for (const group of Map.groupBy(carried, besides).values()) {
    const names = group.map(({ path }) => path).join(", ");
    await keeping(names, signal, () => copy(group, signal));
  }
  return paths.map((path) => ({
    path,
    count: carried.find((one) => one.path === path)?.walked.files,
  }));
}

async function keeping(
  path: string,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (cause) {
    signal.throwIfAborted();
    throw new InstallRefusedError(`${path} cannot be kept`, { cause });
  }
}

/** @param group - all of one directory, and into one */
async function copy(group: readonly Carried[], signal: AbortSignal): Promise<void> {
  const [first] = group;
  if (!first) return;
  using unpacker = openTreeUnpacker(dirname(first.target));
  for await (const chunk of tarOf(dirname(first.source), namesOf(group))) {
    signal.throwIfAborted();
    await unpacker.write(chunk);
  }
  await unpacker.end();
}

async function* namesOf(group: readonly Carried[]): AsyncGenerator<Buffer, void> {
  for (const { source, walked } of group) {
    const name = Buffer.from(basename(source));
    if ((await lstat(source)).isDirectory()) {
      for await (const below of walk(source, () => false, walked)) {
        yield Buffer.concat([name, below.subarray(1)]); // begins with a dot
      }
    } else {
      walked.files++;
      yield name;
    }
  }
}

/** Owner before mode: changing the owner clears the bits above 0777. */
async function dress(target: string, stats: Stats): Promise<void> {
  if (process.getuid?.() === 0) await lchown(target, stats.uid, stats.gid);
  if (!stats.isSymbolicLink()) await chmod(target, stats.mode & 0o7777);
  await lutimes(target, stats.atime, stats.mtime);
}

/** Directories that the new system did not have are as they were in the old one. */
async function ownersAbove(source: string, target: string, root: string): Promise<void> {
  if (source === root || !source.startsWith(`${root}/`)) return;
  await ownersAbove(dirname(source), dirname(target), root);
  if ((await readdir(target)).length === 0) await dress(target, await lstat(source));
}
