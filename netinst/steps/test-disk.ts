/** A disk: read all over it; where it may be written, patterns are written there and read back. */

import { constants } from "node:fs";
import { open } from "node:fs/promises";
import type { Disk } from "#protocol/node.ts";
import { openDisk, type TargetDisk } from "../disk.ts";
import { DiskError } from "../errors.ts";
import type { TestTime } from "./burn-in.ts";

const stepOctets = 1 << 20;
/** Places visited per round over the disk; each round visits the MiB after those of the one before. */
const places = 256;

export interface DiskTest {
  /** What is on it may be lost. */
  readonly isWritten: boolean;
  /** A file that plays the disk. */
  readonly file?: string | undefined;
}

/** @throws DiskError with the position */
export async function testDisk(
  disk: Disk,
  { isWritten, file }: DiskTest,
  time: TestTime,
): Promise<string> {
  const visit = isWritten ? await writer(disk, file) : await reader(disk, file);
  let count = 0;
  try {
    for (const position of positions(disk.sizeBytes)) {
      await visit.at(position);
      count += 1;
      await time.pause();
      if (performance.now() >= time.until) break;
    }
  } finally {
    await visit.close();
  }
  return `${count} MiB of ${Math.floor(disk.sizeBytes / stepOctets)} ${isWritten ? "written and read back" : "read"}`;
}

/** Every whole MiB but the first and the last, each once, spread over the disk. */
export function* positions(sizeBytes: number): Generator<number> {
  const count = Math.floor(sizeBytes / stepOctets);
  const stride = Math.max(1, Math.ceil((count - 2) / places));
  for (let first = 1; first <= stride; first++) {
    for (let step = first; step < count - 1; step += stride) yield step * stepOctets;
  }
}

interface Visit {
  at(position: number): Promise<void>;
  close(): Promise<void>;
}

async function reader(disk: Disk, file: string | undefined): Promise<Visit> {
  const path = file ?? `/dev/${disk.name}`;
  const handle = await open(path, constants.O_RDONLY).catch((cause: unknown) => {
    throw new DiskError(`cannot open ${path}`, { cause });
  });
  const buffer = Buffer.allocUnsafeSlow(stepOctets);
  return {
    at: async (position) => {
      const { bytesRead } = await handle
        .read(buffer, 0, stepOctets, position)
        .catch((cause: unknown) => {
          throw new DiskError(`reading at ${position} of ${path}`, { cause });
        });
      if (bytesRead < stepOctets) throw new DiskError(`${path} ends at ${position + bytesRead}`);
    },
    close: () => handle.close(),
  };
}

async function writer(disk: Disk, file: string | undefined): Promise<Visit> {
  const target = await openDisk(disk, file);
  const pattern = Buffer.allocUnsafeSlow(stepOctets);
  return {
    at: async (position) => {
      for (const octet of [0x55, 0xaa, 0x00]) {
        await writeAndCheck(target, pattern.fill(octet), position); // zeros last: blank again
      }
    },
    close: () => target.close(),
  };
}

async function writeAndCheck(disk: TargetDisk, octets: Buffer, position: number): Promise<void> {
  await disk.write(octets, position);
  await disk.flush();
  const found = await disk.read(position, octets.length);
  if (found.equals(octets)) return;
  const at = found.findIndex((octet, index) => octet !== octets[index]);
  throw new DiskError(
    `octet ${position + at} of ${disk.path}: ${octets[at]} was written, ${found[at]} came back`,
  );
}
