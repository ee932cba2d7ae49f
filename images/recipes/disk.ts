/** Turns a root file system tree into a bootable raw disk: partition table, file systems, boot loader. Files only. */

import {
  closeSync,
  existsSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from "node:fs";
import { basename, join } from "node:path";
import type { Architecture } from "#protocol/firmware.ts";
import { ImageInvalidError } from "../../server/errors.ts";
import { installGrubBios } from "../disk/grub-bios.ts";
import { run } from "./run.ts";

export const mebibyte = 1024 * 1024;
/** Free space beside the tree: logs, the resident agent (45 MB) and an update of the package lists. */
const spareMiB = 128;
const biosBootType = "21686148-6449-6E6F-744E-656564454649";
const espType = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
const linuxType = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";

/**
 * GPT: 1 MiB BIOS boot partition, 16 MiB ESP, ext4 root labelled `marcoboot-root`.
 *
 * @param request.grub - folder with boot.img, core.img, bootx64.efi, bootaa64.efi
 */
export async function makeGrubDisk(request: {
  readonly tree: string;
  readonly disk: string;
  readonly architecture: Architecture;
  readonly grub: string;
}): Promise<void> {
  const { tree, disk, architecture, grub } = request;
  const espMiB = 16;
  const rootMiB = await rootSize(tree);
  const rootStart = 1 + espMiB;
  createSparse(disk, (rootStart + rootMiB + 1) * mebibyte);
  await run(
    "sfdisk",
    ["--quiet", disk],
    [
      "label: gpt",
      "first-lba: 34",
      `start=34, size=2014, type=${biosBootType}, name=bios`,
      `start=2048, size=${espMiB}MiB, type=${espType}, name=esp`,
      `start=${rootStart * 2048}, size=${rootMiB}MiB, type=${linuxType}, name=root`,
      "",
    ].join("\n"),
  );
  const loader = architecture === "amd64" ? "bootx64.efi" : "bootaa64.efi";
  const esp = `${disk}.esp`;
  await makeFat(esp, espMiB, "ESP", [[`EFI/BOOT/${loader.toUpperCase()}`, join(grub, loader)]]);
  copyInto(disk, esp, mebibyte);
  await makeRoot(disk, tree, rootStart, rootMiB);
  if (architecture === "amd64") installBiosLoader(disk, grub);
}

export async function rootSize(tree: string): Promise<number> {
  const used = Number((await run("du", ["-sm", "--apparent-size", tree])).split("\t")[0]);
  if (!Number.isFinite(used)) throw new ImageInvalidError(`du told no size of ${tree}`);
  return Math.ceil(used * 1.1) + spareMiB; // a tenth for inodes, block rounding and the journal
}

export function createSparse(path: string, bytes: number): void {
  const file = openSync(path, "w");
  ftruncateSync(file, bytes);
  closeSync(file);
}

export async function makeRoot(
  disk: string,
  tree: string,
  startMiB: number,
  sizeMiB: number,
): Promise<void> {
  await run("mke2fs", [
    "-q",
    "-t",
    "ext4",
    "-F",
    "-L",
    "marcoboot-root",
    "-d",
    tree,
    "-E",
    `offset=${startMiB * mebibyte},root_owner=0:0`,
    disk,
    `${sizeMiB * 1024}k`,
  ]);
}

export async function makeFat(
  path: string,
  sizeMiB: number,
  label: string,
  files: readonly (readonly [name: string, source: string])[],
): Promise<void> {
  createSparse(path, sizeMiB * mebibyte);
  await run("mkfs.vfat", ["-F", sizeMiB < 64 ? "16" : "32", "-n", label, path]);
  const made = new Set<string>();
  for (const [name, source] of files) {
    if (!existsSync(source)) {
      throw new ImageInvalidError(
        `${basename(source)} is not there (${source}): run npm run setup`,
      );
    }
    const folders = name.split("/").slice(0, -1);
    for (let depth = 1; depth <= folders.length; depth++) {
      const folder = folders.slice(0, depth).join("/");
      if (made.has(folder)) continue;
      await run("mmd", ["-i", path, `::${folder}`]);
      made.add(folder);
    }
    await run("mcopy", ["-i", path, source, `::${name}`]);
  }
}

/** Copies a small file system into its partition, holes left as holes. */
export function copyInto(disk: string, part: string, offset: number): void {
  const from = openSync(part, "r");
  const to = openSync(disk, "r+");
  const block = Buffer.alloc(mebibyte);
  for (let at = 0; ; at += mebibyte) {
    const octets = readSync(from, block, 0, mebibyte, at);
    if (octets === 0) break;
    if (block.subarray(0, octets).some((octet) => octet !== 0)) {
      writeSync(to, block, 0, octets, offset + at);
    }
  }
  closeSync(from);
  closeSync(to);
  rmSync(part);
}

function installBiosLoader(disk: string, grub: string): void {
  const file = openSync(disk, "r+");
  const head = Buffer.alloc(mebibyte);
  readSync(file, head, 0, mebibyte, 0);
  installGrubBios(
    head,
    readFileSync(join(grub, "boot.img")),
    readFileSync(join(grub, "core.img")),
    34,
  );
  writeSync(file, head, 0, mebibyte, 0);
  closeSync(file);
}
