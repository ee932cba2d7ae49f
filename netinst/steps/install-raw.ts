/**
 * Installs a disk image: everything but the bytes that make it bootable, then proof that the
 * medium holds it, then what makes it this node's, and only then the commit.
 */

import { createHash } from "node:crypto";
import type { RootSlot } from "#protocol/root-slots.ts";
import type { Console } from "../console.ts";
import { commit, makeUnbootable, type TargetDisk } from "../disk.ts";
import { DiskError, InstallRefusedError } from "../errors.ts";
import { type ImageSource, streamImage } from "../image-stream.ts";
import { withLoop, withMount } from "../loop.ts";
import {
  backupOctets,
  extMagic,
  growLastPartition,
  headOctets,
  type Partition,
  parsePartitionTable,
} from "../partition-table.ts";
import type { Reporter } from "../report.ts";
import { runTool } from "../tools.ts";
import { meter } from "./meter.ts";

export interface RawInstall {
  readonly disk: TargetDisk;
  readonly source: ImageSource;
  readonly reporter: Pick<Reporter, "progress">;
  readonly console: Console;
  /** Called with the mounted root file system. @returns fingerprints of the SSH host keys */
  readonly configure: (directory: string, slot?: RootSlot) => readonly string[];
  /** Of a simulated node: directories beside this file play its file systems, and nothing is mounted. */
  readonly playedDisk?: string;
}

/** What was kept in RAM instead of being written. */
interface HeldBack {
  readonly head: Buffer;
  /** End of the disk, when a backup GPT of the image would lie there. */
  readonly tail: Buffer;
  readonly tailAt: number;
}

/** @returns fingerprints of the SSH host keys. @throws AgentError; the disk is unbootable then */
export async function installRaw(
  install: RawInstall,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { disk, source, reporter } = install;
  const { sizeBytes } = source.manifest;
  reporter.progress("preparing", 0);
  reporter.progress("writing", 0); // from here on the old system is gone
  await makeUnbootable(disk);
  signal.throwIfAborted();
  const held = await write(install, signal);
  await verify(install, held, signal);
  reporter.progress("configuring", 0);
  const grown = growLastPartition(held.head, disk.sizeBytes);
  const fingerprints =
    install.playedDisk === undefined
      ? await configureRoot(install, held.head, grown.grown)
      : install.configure(`${install.playedDisk}.root`);
  signal.throwIfAborted();
  reporter.progress("committing", 0);
  await commit(disk, grown.head.subarray(0, Math.min(headOctets, sizeBytes)), grown.backup);
  reporter.progress("committing", 100);
  return fingerprints;
}

/** Dirty octets allowed before a flush: keeps progress honest and RAM free. */
const flushEvery = 32 << 20;
const writeOctets = 1 << 20;

async function write(install: RawInstall, signal: AbortSignal): Promise<HeldBack> {
  const { disk, source, reporter } = install;
  const { sizeBytes } = source.manifest;
  const head = Buffer.alloc(headOctets);
  const tailAt = disk.sizeBytes - (disk.sizeBytes % 512) - backupOctets;
  const tail = Buffer.alloc(backupOctets);
  const tick = meter("writing", sizeBytes, reporter);
  // small chunks are gathered: one write per MiB instead of one per chunk of the unpacker
  let gathered = Buffer.alloc(writeOctets);
  let filled = 0;
  let writeAt = headOctets;
  let unflushed = 0;
  const writeOut = async () => {
    const isGpt = head.toString("latin1", 512, 520) === "EFI PART";
    const keepFrom = isGpt ? Math.max(0, Math.min(filled, tailAt - writeAt)) : filled;
    if (keepFrom > 0) await writeUnlessZero(disk, gathered.subarray(0, keepFrom), writeAt);
    if (keepFrom < filled) gathered.copy(tail, writeAt + keepFrom - tailAt, keepFrom, filled);
    writeAt += filled;
    unflushed += filled;
    filled = 0;
    if (unflushed >= flushEvery) {
      await disk.flush();
      unflushed = 0;
    }
  };
  await streamImage(
    source,
    async (chunk, position) => {
      const inHead = Math.max(0, Math.min(chunk.length, headOctets - position));
      chunk.copy(head, position, 0, inHead);
      for (let at = inHead; at < chunk.length; ) {
        const count = chunk.copy(gathered, filled, at, at + writeOctets - filled);
        at += count;
        filled += count;
        if (filled === writeOctets) await writeOut();
      }
      tick(position + chunk.length);
    },
    signal,
  );
  if (filled > 0) await writeOut();
  gathered = Buffer.alloc(0);
  await disk.flush();
  return { head, tail, tailAt };
}

const zeros = Buffer.alloc(writeOctets);

/**
 * Free space of the image is zeros: where the disk holds them already (a new one does), reading
 * them is cheaper than writing. The proof below reads everything again in either case.
 */
async function writeUnlessZero(disk: TargetDisk, bytes: Buffer, at: number): Promise<void> {
  const isZero = bytes.equals(zeros.subarray(0, bytes.length));
  if (isZero && (await disk.read(at, bytes.length)).equals(bytes)) return;
  await disk.write(bytes, at);
}

/** Reads the medium back: what is committed below is what was signed above. */
async function verify(install: RawInstall, held: HeldBack, signal: AbortSignal): Promise<void> {
  const { disk, source, reporter } = install;
  const { sizeBytes, digest } = source.manifest;
  reporter.progress("verifying", 0);
  await disk.dropCaches();
  const hash = createHash("sha256").update(held.head.subarray(0, Math.min(headOctets, sizeBytes)));
  const isGpt = held.head.toString("latin1", 512, 520) === "EFI PART";
  const readEnd = isGpt ? Math.min(sizeBytes, held.tailAt) : sizeBytes;
  const tick = meter("verifying", sizeBytes, reporter);
  for (let at = headOctets; at < readEnd; at += writeOctets) {
    signal.throwIfAborted();
    hash.update(await disk.read(at, Math.min(writeOctets, readEnd - at)));
    tick(at);
  }
  if (readEnd < sizeBytes && sizeBytes > headOctets) {
    hash.update(held.tail.subarray(0, sizeBytes - readEnd));
  }
  const found = hash.digest("hex");
  if (found !== digest) {
    throw new DiskError(
      `the disk returns other bytes than were written: sha-256 ${found} instead of ${digest}`,
    );
  }
}

/** Finds the largest ext file system of the image, checks it, lets it fill its partition, configures it. */
async function configureRoot(
  install: RawInstall,
  head: Buffer,
  grown: Partition | undefined,
): Promise<readonly string[]> {
  const { disk, console, reporter } = install;
  const root = await findRoot(disk, head);
  const size = grown?.number === root.number ? grown.length : root.length;
  console.info(`root file system: partition ${root.number}, ${root.length} bytes, becomes ${size}`);
  return await withLoop(disk.path, root.offset, async (device) => {
    await runTool("e2fsck", ["-fp", device], { good: [0, 1] });
    await runTool("resize2fs", [device, `${Math.floor(size / 1024)}K`]);
    reporter.progress("configuring", 50);
    const result = await withMount(device, "ext4", async (directory) =>
      install.configure(directory),
    );
    await runTool("e2fsck", ["-fn", device]);
    return result;
  });
}

async function findRoot(disk: TargetDisk, head: Buffer): Promise<Partition> {
  const partitions = parsePartitionTable(head)?.partitions ?? [];
  for (const one of partitions.toSorted((a, b) => b.length - a.length)) {
    if (one.offset < headOctets || one.offset + one.length > disk.sizeBytes) continue;
    const block = await disk.read(one.offset, 4096);
    if (block.readUInt16LE(extMagic.at) === extMagic.value) return one;
  }
  throw new InstallRefusedError(
    `no ext4 root file system in the image; its partitions: ${
      partitions.map((one) => `${one.number} (type ${one.type})`).join(", ") || "none"
    }`,
  );
}
