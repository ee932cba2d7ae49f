/**
 * Carries files from the system that runs into the one that is being written: owners, modes, times,
 * symbolic and hard links. Extended attributes are not carried, as they are not by an install.
 */

import type { Stats } from "node:fs";
import {
  chmod,
  copyFile,
  lchown,
  link,
  lstat,
  lutimes,
  mkdir,
  readdir,
  readlink,
  rm,
  symlink,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { InstallRefusedError } from "../errors.ts";
import { openRootTree } from "../root-tree.ts";

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
  const kept: Kept[] = [];
  const linked = new Map<string, string>();
  for (const path of paths) {
    const source = old.find(path);
    if (source === undefined) {
      kept.push({ path, count: undefined });
      continue;
    }
    try {
      const target = fresh.locate(path);
      await rm(target, { recursive: true, force: true });
      await ownersAbove(dirname(source), dirname(target), old.directory);
      const count = await copy(source, target, { linked, signal });
      kept.push({ path, count });
    } catch (cause) {
      signal.throwIfAborted();
      throw new InstallRefusedError(`${path} cannot be kept`, { cause });
    }
  }
  return kept;
}

interface Copying {
  /** Where each file with several names went first. */
  readonly linked: Map<string, string>;
  readonly signal: AbortSignal;
}

async function copy(source: string, target: string, copying: Copying): Promise<number> {
  copying.signal.throwIfAborted();
  const stats = await lstat(source);
  if (stats.isDirectory()) {
    await mkdir(target);
    let count = 0;
    for (const name of await readdir(source)) {
      count += await copy(join(source, name), join(target, name), copying);
    }
    await dress(target, stats);
    return count;
  }
  if (stats.isSymbolicLink()) await symlink(await readlink(source), target);
  else if (stats.isFile()) await copyOnce(source, target, stats, copying.linked);
  else return 0; // sockets, pipes and devices are made by whoever needs them
  await dress(target, stats);
  return 1;
}

async function copyOnce(
  source: string,
  target: string,
  { nlink, ino }: Stats,
  linked: Map<string, string>,
): Promise<void> {
  const first = nlink > 1 ? linked.get(String(ino)) : undefined;
  if (first !== undefined) return await link(first, target);
  if (nlink > 1) linked.set(String(ino), target);
  await copyFile(source, target);
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
