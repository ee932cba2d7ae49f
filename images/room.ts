/** How much of a disk images may fill. */

import { statfs } from "node:fs/promises";
import { UnavailableError } from "../server/errors.ts";

/** Left free for the journal, leases and logs, whose writes may not fail for an image's sake. */
const keptFree = 256 * 1024 * 1024;

/** @throws UnavailableError with the figures when `octets` more do not fit below `directory` */
export async function refuseWithoutRoom(directory: string, octets: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  const free = bavail * bsize;
  if (octets + keptFree <= free) return;
  throw new UnavailableError(
    `no room for ${octets} octets: ${directory} has ${free} free, ${keptFree} of them are kept`,
  );
}
