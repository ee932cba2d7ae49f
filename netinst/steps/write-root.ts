/**
 * Writes a root file system into its partition: file system, tree, proof that the medium holds it,
 * and what makes it this node's. Install and update do the same here.
 */

import type { Console } from "../console.ts";
import type { TargetDisk } from "../disk.ts";
import { type ImageSource, streamImage } from "../image-stream.ts";
import type { Reporter } from "../report.ts";
import { openRootTree } from "../root-tree.ts";
import type { Volumes } from "../volumes.ts";
import { rootLabel, writeGrubConfiguration } from "./bootloader.ts";
import type { Layout, RootVolume } from "./disk-layout.ts";
import { meter } from "./meter.ts";
import { openTreeUnpacker, type Unpacked, verifyTree } from "./unpack-tree.ts";

export interface RootWriting {
  readonly disk: Pick<TargetDisk, "flush" | "dropCaches">;
  readonly volumes: Volumes;
  readonly source: ImageSource;
  readonly reporter: Pick<Reporter, "progress">;
  readonly console: Console;
}

/**
 * @param configure - called with the mounted tree, once it is proven
 * @throws AgentError
 */
export async function writeRoot<T>(
  writing: RootWriting,
  layout: Layout,
  root: RootVolume,
  configure: (directory: string) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const { disk, volumes, source, reporter } = writing;
  const { architecture, bootloader } = source.manifest;
  await volumes.makeExt4(root, root.name === "root" ? rootLabel : root.name);
  const sums = await volumes.mount(root, (directory) => unpack(writing, directory, signal));
  reporter.progress("verifying", 0);
  await disk.dropCaches();
  await volumes.check(root);
  const tick = meter("verifying", source.manifest.sizeBytes, reporter);
  await volumes.mount(root, (directory) => verifyTree(directory, sums, tick, signal), "read");
  signal.throwIfAborted();
  reporter.progress("configuring", 0);
  const result = await volumes.mount(root, async (directory) => {
    writeFstab(directory, layout, root);
    const made = await configure(directory);
    if (bootloader === "grub") writeGrubConfiguration(directory, root, architecture);
    return made;
  });
  await volumes.check(root);
  await disk.flush();
  return result;
}

async function unpack(
  { source, reporter, console }: RootWriting,
  directory: string,
  signal: AbortSignal,
): Promise<Unpacked["sums"]> {
  const tick = meter("writing", source.manifest.sizeBytes, reporter);
  using unpacker = openTreeUnpacker(directory);
  await streamImage(
    source,
    async (chunk, position) => {
      await unpacker.write(chunk);
      tick(position + chunk.length);
    },
    signal,
  );
  const { skipped, sums, warning } = await unpacker.end();
  if (skipped > 0) console.info(`${skipped} devices and pipes of the archive were left out`);
  if (warning !== undefined) console.warn(warning);
  return sums;
}

/** Where the boot partition is mounted in the installed system. */
const bootMount = { grub: "/boot/efi", "raspberry-pi": "/boot/firmware" } as const;
export const bootMounts: readonly string[] = Object.values(bootMount);

function writeFstab(directory: string, { boot, bootloader, data }: Layout, root: RootVolume): void {
  const tree = openRootTree(directory);
  const where = bootMount[bootloader];
  const fatId = `${boot.id.slice(0, 4)}-${boot.id.slice(4)}`.toUpperCase();
  const lines = [
    `UUID=${root.id} / ext4 defaults,errors=remount-ro 0 1`,
    `UUID=${fatId} ${where} vfat defaults,umask=0077,nofail 0 2`,
    ...(data ? [`UUID=${data.id} ${data.path} ext4 defaults,nofail 0 2`] : []),
  ];
  for (const path of [where, ...(data ? [data.path] : [])]) tree.locate(`${path}/x`); // makes it
  tree.write("/etc/fstab", `${lines.join("\n")}\n`);
}
