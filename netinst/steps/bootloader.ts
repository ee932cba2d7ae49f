/**
 * What makes an unpacked root file system boot by GRUB, for BIOS and UEFI. Only files are written
 * here; the sectors are part of the head that is committed.
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Architecture } from "#protocol/firmware.ts";
import { type KernelFiles, newestKernel } from "../../images/pi-boot.ts";
import { InstallRefusedError } from "../errors.ts";
import { sectorOctets } from "../partition-table.ts";
import { openRootTree } from "../root-tree.ts";
import { coreSector, type RootVolume } from "./disk-layout.ts";

/**
 * What GRUB looks for, in this order, and takes /boot/grub/grub.cfg from; the builds in `share/grub`
 * have both built in (netinst/initramfs/grub.ts).
 */
export const switchLabel = "MBOOT-SLOTS";
export const rootLabel = "marcoboot-root";

/** The newest kernel in /boot of the tree. @throws InstallRefusedError if there is none */
export function findKernel(directory: string): KernelFiles {
  const boot = join(directory, "boot");
  const found = newestKernel(existsSync(boot) ? readdirSync(boot) : []);
  if (!found) throw new InstallRefusedError("the image has no /boot/vmlinuz-*");
  return found;
}

/** Without an initrd the kernel itself looks for the root, and it knows partitions only. */
function rootWord(kernel: KernelFiles, root: RootVolume): string {
  return kernel.initrd === undefined
    ? `root=PARTUUID=${root.partitionUuid}`
    : `root=UUID=${root.id}`;
}

/** A slot that cannot start goes back to the other one: its panic restarts the machine. */
function panicWord({ name }: RootVolume): string {
  return name === "root" ? "" : " panic=30";
}

export function grubConfiguration(
  kernel: KernelFiles,
  root: RootVolume,
  architecture: Architecture,
): string {
  const consoles =
    architecture === "amd64"
      ? "console=tty0 console=ttyS0,115200"
      : "console=tty0 console=ttyAMA0,115200";
  return [
    "# written by the marcoboot installer; update-grub may replace it",
    "set timeout=1",
    `search --no-floppy --fs-uuid ${root.id} --set=root`,
    "menuentry 'Linux' {",
    `  linux /boot/${kernel.kernel} ${rootWord(kernel, root)} rootwait ro${panicWord(root)} ${consoles}`,
    ...(kernel.initrd === undefined ? [] : [`  initrd /boot/${kernel.initrd}`]),
    "}",
    "",
  ].join("\n");
}

export function writeGrubConfiguration(
  directory: string,
  root: RootVolume,
  architecture: Architecture,
): void {
  const tree = openRootTree(directory);
  tree.write("/boot/grub/grub.cfg", grubConfiguration(findKernel(directory), root, architecture));
}

/** Files of `share/grub` of the agent's squashfs. @throws InstallRefusedError */
export function grubFile(name: string): Buffer {
  const path = join(process.env["MARCOBOOT_AGENT_ROOT"] ?? "", "share/grub", name);
  if (!existsSync(path)) throw new InstallRefusedError(`the agent has no boot loader file ${path}`);
  return readFileSync(path);
}

/**
 * Puts GRUB for BIOS into the head: boot.img's code into sector 0, the core into the gap.
 *
 * Both hold block numbers that assume sector 1: boot.img says where the core begins (octet 0x5c),
 * the core's first sector says where its rest lies (last 12 octets: start, length, segment).
 */
export function embedGrub(head: Buffer, bootImage: Buffer, core: Buffer): void {
  const room = head.length - coreSector * sectorOctets;
  if (core.length > room || bootImage.length < 440) {
    throw new InstallRefusedError(
      `GRUB's core has ${core.length} bytes, there is room for ${room}`,
    );
  }
  bootImage.copy(head, 0, 0, 440);
  head.writeBigUInt64LE(BigInt(coreSector), 0x5c);
  head.writeUInt16LE(0x9090, 0x66); // no jump: trust the drive number of a hard disk's BIOS not blindly
  core.copy(head, coreSector * sectorOctets);
  head.writeBigUInt64LE(BigInt(coreSector + 1), coreSector * sectorOctets + 500);
}

/** The removable-media path: firmware finds it without an entry in its memory (UEFI §3.5.1.1). */
export function writeEfiLoader(directory: string, architecture: Architecture): void {
  mkdirSync(join(directory, "EFI/BOOT"), { recursive: true });
  const [from, to] =
    architecture === "amd64" ? ["bootx64.efi", "BOOTX64.EFI"] : ["bootaa64.efi", "BOOTAA64.EFI"];
  writeFileSync(join(directory, "EFI/BOOT", to), grubFile(from), { flush: true });
}
