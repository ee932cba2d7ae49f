/** Finds the root file system that boots from a disk, and mounts it so that nothing is written. */

import { existsSync, readFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import type { CaptureAssignment } from "#protocol/agent.ts";
import type { Console } from "../console.ts";
import { AgentError, DiskError } from "../errors.ts";
import { withLoop, withMount } from "../loop.ts";
import { extMagic, headOctets, type Partition, parsePartitionTable } from "../partition-table.ts";
import type { Settings } from "../settings.ts";
import { identityDefault } from "../settings.ts";
import { readSystem } from "./installed-system.ts";

export interface RootContext {
  readonly settings: Pick<Settings, "simulate" | "diskFile">;
  readonly assignment: Pick<CaptureAssignment, "bootloader" | "slot">;
  readonly console: Console;
}

/** A partition with an ext file system. */
export interface ExtPartition extends Partition {
  /** Its journal holds what is not in its place yet: it was not unmounted. */
  readonly isUnclean: boolean;
}

/** Octets into a file system: its superblock, and the feature words in that. */
const superblockAt = 1024;
const incompatibleAt = superblockAt + 0x60;
const needsRecovery = 0x4;

/** The ext file systems of a disk, in the order of its partition table. @throws DiskError */
export async function extPartitions(path: string): Promise<readonly ExtPartition[]> {
  await using disk = await open(path, "r").catch((cause: unknown) => {
    throw new DiskError(`cannot open ${path} for reading`, { cause });
  });
  const partitions = parsePartitionTable(await readAt(disk, 0, headOctets))?.partitions ?? [];
  const found: ExtPartition[] = [];
  for (const partition of partitions) {
    const block = await readAt(disk, partition.offset, 4096);
    if (block.readUInt16LE(extMagic.at) !== extMagic.value) continue;
    const isUnclean = (block.readUInt32LE(incompatibleAt) & needsRecovery) !== 0;
    found.push({ ...partition, isUnclean });
  }
  return found;
}

async function readAt(disk: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer } = await disk.read(Buffer.alloc(length), 0, length, position);
  return buffer;
}

/**
 * Runs `work` with the root file system mounted, on a Raspberry Pi with its boot partition in place.
 *
 * @throws AgentError when there is none, more than one, or it was not unmounted
 */
export async function withRootOf<T>(
  path: string,
  context: RootContext,
  work: (directory: string) => Promise<T>,
): Promise<T> {
  const { settings, assignment } = context;
  const { slot } = assignment;
  if (settings.simulate) {
    return await work(`${settings.diskFile}.root${slot === undefined ? "" : `-${slot}`}`);
  }
  const root = await findRoot(path, slot);
  return await mounted(path, root, async (directory) => {
    refuseDivided(directory);
    const firmware = join(directory, "boot/firmware");
    if (assignment.bootloader !== "raspberry-pi" || !existsSync(firmware)) {
      return await work(directory);
    }
    const boot = await fatPartition(path);
    if (!boot) return await work(directory);
    const options = { options: ["ro"], at: firmware };
    return await withLoop(
      path,
      boot.offset,
      (device) => withMount(device, "vfat", () => work(directory), options),
      "read",
    );
  });
}

/** Read-only, journal and all. */
export async function mounted<T>(
  path: string,
  partition: Partition,
  work: (directory: string) => Promise<T>,
): Promise<T> {
  const options = { options: ["ro,noload"] };
  return await withLoop(
    path,
    partition.offset,
    (device) => withMount(device, "ext4", work, options),
    "read",
  );
}

/** The one that holds a system; of two root slots the one that boots. @throws AgentError */
export async function findRoot(
  path: string,
  slot: CaptureAssignment["slot"],
): Promise<ExtPartition> {
  const roots: ExtPartition[] = [];
  for (const partition of await extPartitions(path)) {
    if (await mounted(path, partition, async (root) => isRoot(root, slot))) roots.push(partition);
  }
  const [root, another] = roots;
  if (!root) {
    throw new AgentError(`no ext4 file system of ${path} holds a system (etc/os-release)`);
  }
  if (another) {
    const numbers = roots.map(({ number }) => number).join(" and ");
    throw new AgentError(`partitions ${numbers} of ${path} hold a system each`);
  }
  if (root.isUnclean) {
    throw new AgentError(
      `partition ${root.number} of ${path} was not unmounted when the node went down: start its system, shut it down by a job, and capture it again`,
    );
  }
  return root;
}

function isRoot(directory: string, slot: CaptureAssignment["slot"]): boolean {
  const hasSystem = ["etc/os-release", "usr/lib/os-release"].some((file) =>
    existsSync(join(directory, file)),
  );
  if (!hasSystem || slot === undefined) return hasSystem;
  return readSystem(join(directory, identityDefault))?.slot === slot;
}

async function fatPartition(path: string): Promise<Partition | undefined> {
  await using disk = await open(path, "r");
  const partitions = parsePartitionTable(await readAt(disk, 0, headOctets))?.partitions ?? [];
  return partitions.find(({ type }) => type === "0c" || type === "0b");
}

const systemDirectories = [
  "/usr",
  "/var",
  "/etc",
  "/boot",
  "/bin",
  "/sbin",
  "/lib",
  "/opt",
  "/root",
];

/** An archive of one file system would hold half a system. @throws AgentError */
function refuseDivided(directory: string): void {
  const table = join(directory, "etc/fstab");
  if (!existsSync(table)) return;
  const divided = readFileSync(table, "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .find(
      ([device, at]) => device && !device.startsWith("#") && at && systemDirectories.includes(at),
    );
  if (!divided) return;
  throw new AgentError(
    `${divided[1]} of this system is a file system of its own: capture the whole disk, with --kind raw`,
  );
}
