/** Names on the disk, also after a power cut. */

import { open } from "node:fs/promises";

/** Makes the names in `path` (a rename, an unlink) durable. */
export async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, "r");
  await directory.sync();
}
