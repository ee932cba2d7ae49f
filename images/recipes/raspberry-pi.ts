/** What a Raspberry Pi's image has besides its tree: the firmware on the boot partition. */

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { ImageInvalidError } from "../../server/errors.ts";
import { copyInto, createSparse, makeFat, makeRoot, mebibyte, rootSize } from "./disk.ts";
import { run } from "./run.ts";

const firmwareFolder = "boot/firmware";
/** What runs before a kernel where config.txt asks for nothing special; for all models. */
const bootFirmware = ["bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat"];

/** Puts the firmware where an install of the tree takes it from. @throws ImageInvalidError when one is missing */
export function bringFirmware(tree: string, firmware: string): void {
  mkdirSync(join(tree, firmwareFolder), { recursive: true });
  for (const name of bootFirmware) {
    const from = join(firmware, name);
    if (!existsSync(from)) {
      throw new ImageInvalidError(`${name} is not there (${from}): run npm run setup`);
    }
    copyFileSync(from, join(tree, firmwareFolder, name));
  }
}

/**
 * MBR: 128 MiB FAT with firmware, kernel8.img and initramfs, then ext4 root.
 * The firmware reads FAT only, and finds its files by name.
 */
export async function makeRaspberryPiDisk(request: {
  readonly tree: string;
  readonly disk: string;
  readonly firmware: string;
}): Promise<void> {
  const { tree, disk, firmware } = request;
  const bootMiB = 128;
  const rootMiB = await rootSize(tree);
  const rootStart = 4 + bootMiB;
  createSparse(disk, (rootStart + rootMiB) * mebibyte);
  await run(
    "sfdisk",
    ["--quiet", disk],
    `label: dos\nstart=${4 * 2048}, size=${bootMiB}MiB, type=c, bootable\nstart=${rootStart * 2048}, size=${rootMiB}MiB, type=83\n`,
  );
  const kernel = realpathSync(join(tree, "vmlinuz"));
  const initrd = realpathSync(join(tree, "initrd.img"));
  const configText = `${disk}.config.txt`;
  const commandLine = `${disk}.cmdline.txt`;
  writeFileSync(
    configText,
    "arm_64bit=1\nkernel=kernel8.img\ninitramfs initramfs8 followkernel\nenable_uart=1\n",
  );
  writeFileSync(
    commandLine,
    "console=ttyS1,115200 console=tty1 root=LABEL=marcoboot-root rootwait ro\n",
  );
  const boot = `${disk}.boot`;
  await makeFat(boot, bootMiB, "MARCOBOOT", [
    ...readdirSync(firmware)
      .filter((name) => statSync(join(firmware, name)).isFile())
      .map((name) => [name, join(firmware, name)] as const),
    ["kernel8.img", kernel],
    ["initramfs8", initrd],
    ["config.txt", configText],
    ["cmdline.txt", commandLine],
  ]);
  copyInto(disk, boot, 4 * mebibyte);
  // The firmware reads them from the FAT partition: a second copy would only be written and sent.
  const brought = bootFirmware.map((name) => join(tree, firmwareFolder, name));
  for (const copied of [kernel, initrd, ...brought]) rmSync(copied);
  for (const dangling of ["vmlinuz", "initrd.img"]) rmSync(join(tree, dangling));
  await makeRoot(disk, tree, rootStart, rootMiB);
  rmSync(configText);
  rmSync(commandLine);
}
