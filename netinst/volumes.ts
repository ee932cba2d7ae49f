/**
 * Partitions as directories: made, checked and mounted by their place on the disk, since the kernel
 * may not know the table yet. A simulated node's partitions are directories beside its disk file.
 */

import { mkdirSync, rmSync } from "node:fs";
import type { TargetDisk } from "./disk.ts";
import { withLoop, withMount } from "./loop.ts";
import type { Volume } from "./steps/disk-layout.ts";
import { runTool } from "./tools.ts";

export interface Volumes {
  /** False for a simulated node: no sector of a partition is written. */
  readonly areReal: boolean;
  makeExt4(volume: Volume, label: string): Promise<void>;
  makeFat(volume: Volume, label: string): Promise<void>;
  /** @throws ToolError when the file system is not whole */
  check(volume: Volume): Promise<void>;
  /** On the medium when this resolves. */
  mount<T>(volume: Volume, work: (directory: string) => Promise<T>, mode?: "read"): Promise<T>;
}

export function openVolumes(disk: TargetDisk): Volumes {
  const kilobytes = ({ length }: Volume) => Math.floor(length / 1024);
  const on = <T>(volume: Volume, work: (device: string) => Promise<T>) =>
    withLoop(disk.path, volume.offset, work);
  return {
    areReal: true,
    makeExt4: (volume, label) =>
      on(volume, async (device) => {
        await runTool("mke2fs", [
          ...["-q", "-F", "-t", "ext4", "-m", "1", "-E", "nodiscard"],
          ...["-L", label, "-U", volume.id, device, `${kilobytes(volume)}k`],
        ]);
      }),
    makeFat: (volume, label) =>
      on(volume, async (device) => {
        await runTool("mkfs.vfat", [
          ...["-F", "32", "-s", "1", "-n", label, "-i", volume.id],
          ...[device, String(kilobytes(volume))],
        ]);
      }),
    check: (volume) =>
      on(volume, async (device) => void (await runTool("e2fsck", ["-fn", device]))),
    mount: (volume, work, mode) => {
      const type = volume.name === "boot" ? "vfat" : "ext4";
      return on(volume, (device) =>
        withMount(device, type, work, mode === "read" ? { options: ["ro"] } : {}),
      );
    },
  };
}

/** `FILE.root-a/` plays the partition root-a of the disk FILE, and so on. */
export function playVolumes(diskFile: string): Volumes {
  const at = ({ name }: Volume) => `${diskFile}.${name}`;
  const make = async (volume: Volume) => {
    rmSync(at(volume), { recursive: true, force: true });
    mkdirSync(at(volume), { recursive: true });
  };
  return {
    areReal: false,
    makeExt4: make,
    makeFat: make,
    check: async () => undefined,
    mount: (volume, work) => work(at(volume)),
  };
}
