/** The two versions of an image that a rolling update goes between. */

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { run } from "../../images/recipes/run.ts";
import type { GuestFirmware } from "../lab/qemu.ts";
import { type ImageFile, type ImageFiles, imageNameFor } from "./scenario.ts";

/** Two of them and a data partition fit on the nodes' 2 GiB; a small Debian takes 510. */
const rootMiB = 640;

/** Library name of what nodes of this image are updated to. */
export function nextVersionOf(image: string): string {
  return `${image}-2`;
}

/**
 * Images that several nodes share become root file systems in two slots, and get a second
 * version with `files` (by their paths in it) besides.
 *
 * @param trees - the root file system of each image, zstd
 */
export async function withSecondVersions(
  images: ImageFiles,
  trees: ReadonlyMap<string, string>,
  firmwares: readonly GuestFirmware[],
  files: ReadonlyMap<string, string>,
): Promise<ImageFiles> {
  const all = new Map(images);
  for (const [name, image] of images) {
    const tree = trees.get(name);
    const nodes = firmwares.filter((one) => imageNameFor(one) === name).length;
    if (tree === undefined || nodes < 2) continue;
    const first: ImageFile = { ...image, path: tree, format: "rootfs-tar", rootMiB };
    all.set(name, first);
    all.set(nextVersionOf(name), { ...first, path: await secondVersion(tree, files) });
  }
  return all;
}

/** Made once, beside the first one. */
async function secondVersion(tree: string, files: ReadonlyMap<string, string>): Promise<string> {
  const id = createHash("sha256")
    .update(JSON.stringify([...files]))
    .digest("hex")
    .slice(0, 8);
  const made = tree.replace(/\.tar\.zst$/, `-${id}.tar.zst`);
  if (existsSync(made)) return made;
  const work = mkdtempSync(join(dirname(tree), "version-"));
  try {
    for (const [path, text] of files) {
      mkdirSync(join(work, "tree", dirname(path)), { recursive: true });
      writeFileSync(join(work, "tree", path), text);
    }
    const tar = join(work, "rootfs.tar");
    await run("zstd", ["-q", "-d", tree, "-o", tar]);
    const names = [...files.keys()].map((path) => `./${path}`);
    const owner = ["--owner=0", "--group=0", "--numeric-owner"];
    await run("tar", [...owner, "-C", join(work, "tree"), "-rf", tar, ...names]);
    await run("zstd", ["-q", "-T0", "-3", tar]);
    await rename(`${tar}.zst`, made);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return made;
}
