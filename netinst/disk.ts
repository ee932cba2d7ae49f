/** The disk an OS is written to: choosing it, and reading and writing it by position. */

import { constants } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { targetDisk } from "#protocol/disk.ts";
import type { Disk } from "#protocol/node.ts";
import { DiskError, InstallRefusedError } from "./errors.ts";
import { sectorBytes } from "./hardware.ts";
import { runTool } from "./tools.ts";

export interface TargetDisk {
  /** For losetup. */
  readonly path: string;
  readonly sizeBytes: number;
  /** @throws DiskError */
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** Reads exactly `length` octets from the medium where the disk can do so, not from RAM. @throws DiskError */
  read(position: number, length: number): Promise<Buffer>;
  /** Resolves when everything written is on the medium. */
  flush(): Promise<void>;
  /** Forgets what RAM holds of the disk. */
  dropCaches(): Promise<void>;
  close(): Promise<void>;
}

/**
 * The disk to install on. Nothing has been written when it refuses.
 *
 * @param wanted - kernel name, `/dev/…` or serial; default: the only fixed disk
 * @throws InstallRefusedError with what there is and what was wrong.
 */
export function chooseDisk(
  disks: readonly Disk[],
  wanted: string | undefined,
  neededBytes: number,
): Disk {
  const disk = targetDisk(disks, wanted);
  if (typeof disk === "string") throw new InstallRefusedError(disk);
  if (disk.sizeBytes < neededBytes) {
    throw new InstallRefusedError(
      `disk ${disk.name} is too small: it has ${disk.sizeBytes} bytes, the image needs ${neededBytes}`,
    );
  }
  return disk;
}

const chunkOctets = 1 << 20;

/**
 * Opens a disk by kernel name, or a file that plays one. A disk in use (mounted) is refused.
 *
 * @throws InstallRefusedError if its sectors are not 512 octets or it is in use.
 */
export async function openDisk(disk: Disk, file?: string): Promise<TargetDisk> {
  const path = file ?? `/dev/${disk.name}`;
  const sector = file === undefined ? sectorBytes(disk.name) : 512;
  if (sector !== 512) {
    throw new InstallRefusedError(
      `disk ${disk.name} has sectors of ${sector} octets; only disks with 512 are supported`,
    );
  }
  const exclusive = file === undefined ? constants.O_EXCL : 0; // of a block device: not mounted, not held
  const handle = await open(path, constants.O_RDWR | exclusive).catch((cause: unknown) => {
    throw new InstallRefusedError(`cannot open ${path} for writing`, { cause });
  });
  const isBlock = (await stat(path)).isBlockDevice();
  const direct = await openDirect(path);
  return {
    path,
    sizeBytes: disk.sizeBytes,
    write: async (bytes, position) => {
      for (let at = 0; at < bytes.length; ) {
        const part = bytes.subarray(at, at + chunkOctets);
        const { bytesWritten } = await handle
          .write(part, 0, part.length, position + at)
          .catch(diskError(`writing ${part.length} octets at ${position + at} of ${path}`));
        at += bytesWritten;
      }
    },
    read: async (position, length) => {
      const buffer = alignedBuffer(length);
      const source =
        direct !== undefined && position % 4096 === 0 && length % 4096 === 0 ? direct : handle;
      await readExactly(source, buffer, position, path);
      return buffer;
    },
    flush: () => handle.sync().catch(diskError(`flushing ${path}`)),
    dropCaches: async () => {
      if (isBlock) await runTool("blockdev", ["--flushbufs", path]);
    },
    close: async () => {
      await direct?.close();
      await handle.close();
    },
  };
}

/** Undefined where the file system has no direct access (tmpfs). */
async function openDirect(path: string): Promise<FileHandle | undefined> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECT).catch(() => undefined);
  if (handle === undefined) return undefined;
  try {
    await handle.read(alignedBuffer(4096), 0, 4096, 0);
    return handle;
  } catch {
    await handle.close();
    return undefined;
  }
}

/** The one part of WebAssembly that is used; its types come with `lib dom` only. */
interface PageMemory {
  readonly buffer: ArrayBuffer;
}
const { Memory } = (
  globalThis as unknown as {
    WebAssembly: { Memory: new (size: { initial: number }) => PageMemory };
  }
).WebAssembly;

let page: PageMemory | undefined;

/**
 * Memory that O_DIRECT accepts: the memory of WebAssembly begins at a page, a Buffer anywhere.
 * The same memory every time: the caller is done with it before it reads again.
 */
function alignedBuffer(length: number): Buffer {
  const pages = Math.ceil(length / 65_536);
  if (page === undefined || page.buffer.byteLength < length) {
    page = new Memory({ initial: Math.max(pages, chunkOctets / 65_536) });
  }
  return Buffer.from(page.buffer, 0, length);
}

async function readExactly(
  handle: FileHandle,
  buffer: Buffer,
  position: number,
  path: string,
): Promise<void> {
  for (let at = 0; at < buffer.length; ) {
    const { bytesRead } = await handle
      .read(buffer, at, buffer.length - at, position + at)
      .catch(diskError(`reading at ${position + at} of ${path}`));
    if (bytesRead === 0) throw new DiskError(`${path} ends at ${position + at}`);
    at += bytesRead;
  }
}

function diskError(what: string): (cause: unknown) => never {
  return (cause) => {
    throw new DiskError(what, { cause });
  };
}

/**
 * Makes the disk unbootable: its first and last MiB are zero and on the medium when this resolves.
 * Boot sector, partition tables (both copies of a GPT) and boot loader cores all lie there.
 */
export async function makeUnbootable(disk: TargetDisk): Promise<void> {
  const zeros = Buffer.alloc(Math.min(chunkOctets, disk.sizeBytes));
  await disk.write(zeros, 0);
  await disk.write(zeros, disk.sizeBytes - zeros.length);
  await disk.flush();
}

/** Octets at the start that hold every table: written last of all, in one go. */
const tableOctets = 4096;

/**
 * The commit point: nothing boots before it, everything is in place after it.
 *
 * Boot loader core and the backup GPT come first, are flushed, and mean nothing without the first
 * sectors: no firmware looks for a backup where there is no protective MBR.
 */
export async function commit(disk: TargetDisk, head: Buffer, backup?: Buffer): Promise<void> {
  await disk.write(head.subarray(tableOctets), tableOctets);
  if (backup !== undefined)
    await disk.write(backup, disk.sizeBytes - (disk.sizeBytes % 512) - backup.length);
  await disk.flush();
  await disk.write(head.subarray(0, tableOctets), 0);
  await disk.flush();
}
