/** Images that are small and different from each other: disks of random octets, and root file systems of a few files. */

import { createHash, randomBytes } from "node:crypto";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { run } from "./command.ts";

export interface SmallImage {
  readonly name: string;
  readonly path: string;
  /** sha-256 of everything after the first MiB, which holds the table that the agent changes. */
  readonly digest: string;
}

const mebibyte = 1 << 20;
const imageOctets = 8 * mebibyte;
const sectorOctets = 512;

/** One Linux partition from the first MiB to the end. */
export function makeSmallImage(directory: string, name: string): SmallImage {
  const bytes = randomBytes(imageOctets);
  bytes.fill(0, 0, mebibyte);
  bytes[446 + 4] = 0x83; // type of the first of four entries
  bytes.writeUInt32LE(mebibyte / sectorOctets, 446 + 8);
  bytes.writeUInt32LE((imageOctets - mebibyte) / sectorOctets, 446 + 12);
  bytes.writeUInt16LE(0xaa55, 510);
  bytes.writeUInt16LE(0xef53, mebibyte + 1080); // looks like ext4 to the library
  const path = join(directory, `${name}.img`);
  writeFileSync(path, bytes);
  return { name, path, digest: digestOf(bytes.subarray(mebibyte)) };
}

/** Whether the image was written to the disk and committed. */
export function holdsImage(disk: string, image: SmallImage): boolean {
  const bytes = Buffer.alloc(imageOctets);
  const file = openSync(disk, "r");
  readSync(file, bytes, 0, bytes.length, 0);
  closeSync(file);
  return bytes.readUInt16LE(510) === 0xaa55 && digestOf(bytes.subarray(mebibyte)) === image.digest;
}

function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/**
 * A root file system that a simulated board starts: with `etc/hangs` it does nothing then, with
 * `etc/has-no-agent` it boots and nobody calls.
 *
 * @returns the archive
 */
export function makeSmallTree(
  directory: string,
  name: string,
  more: Readonly<Record<string, string>> = {},
): string {
  const tree = mkdtempSync(join(directory, "tree-"));
  const files = {
    "etc/os-release": `ID=${name}\n`,
    "etc/hosts": "127.0.0.1 localhost\n",
    "boot/vmlinuz-1": `kernel of ${name}\n`,
    "usr/lib/systemd/system/systemd-networkd.service": "",
    "usr/lib/systemd/systemd": "",
    "etc/ssh/sshd_config": "",
    "root/.profile": "",
    ...more,
  };
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    writeFileSync(join(tree, path), content);
  }
  const archive = join(directory, `${name}.tar`);
  run("tar", ["--numeric-owner", "--owner=0", "--group=0", "-C", tree, "-cf", archive, "."]);
  rmSync(tree, { recursive: true });
  return archive;
}
