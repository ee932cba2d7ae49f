/**
 * Of an image with two root slots for a Raspberry Pi the files its firmware reads, beside the image:
 * the server gives them by TFTP to a board that tries the system (server/boot/trials.ts).
 *
 *   <directory>/config.txt   the image's statements
 *   <directory>/<name>       kernel, initrd, device trees, what else lies there; overlays/<name>
 *
 * The firmware's first stages are not among them: the board gets those that every boot by network has.
 */

import {
  closeSync,
  copyFileSync,
  createReadStream,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { Compression } from "#protocol/image.ts";
import { ImageInvalidError } from "../server/errors.ts";
import { decompress } from "./compression.ts";
import { isFirmware, maxBootFileOctets, type PiBoot, readPiBoot, slotConfig } from "./pi-boot.ts";
import { keyOf } from "./tar/entry.ts";
import { createTarReader } from "./tar/reader.ts";

/** Paths that {@link readPiBoot} looks at; no name begins with a dot. */
const wanted =
  /^(?:boot\/\w[\w.+-]*|boot\/firmware\/(?:\w[\w.+-]*\/){0,2}\w[\w.+-]*|usr\/lib\/linux-image-[\w.+-]+\/broadcom\/\w[\w.+-]*)$/;

/**
 * @param image - a root file system that was found to be whole
 * @param directory - is made; what is in it is on the medium when this resolves
 * @throws ImageInvalidError when no Raspberry Pi could boot this by network
 */
export async function extractPiBoot(
  image: { readonly path: string; readonly compression: Compression },
  directory: string,
): Promise<void> {
  const tree = join(directory, ".tree");
  mkdirSync(tree, { recursive: true });
  await unpack(image, tree);
  const boot = readPiBoot(tree);
  const refusal = typeof boot === "string" ? boot : whyNot(boot);
  if (typeof boot === "string" || refusal !== undefined) throw new ImageInvalidError(`${refusal}`);
  const rest = [...boot.firmware].filter(([name]) => !isFirmware(name));
  const files = new Map([...boot.system, ...rest]);
  for (const [name, path] of files) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    renameSync(path, join(directory, name));
  }
  writeFileSync(join(directory, "config.txt"), `${boot.settings.join("\n")}\n`);
  rmSync(tree, { recursive: true });
  const names = [...files.keys(), "config.txt"].map((name) => join(directory, name));
  for (const path of new Set([...names, ...names.map(dirname)])) sync(path);
}

function whyNot(boot: PiBoot): string | undefined {
  const config = slotConfig(boot, "a");
  if (typeof config === "string") return config;
  for (const [name, path] of boot.system) {
    const { size } = statSync(path);
    if (size <= maxBootFileOctets) continue;
    return `${name} of the image has ${size} octets, and a Raspberry Pi's TFTP counts to ${maxBootFileOctets}: it could not be tried`;
  }
  return undefined;
}

async function unpack(
  { path, compression }: Parameters<typeof extractPiBoot>[0],
  tree: string,
): Promise<void> {
  let file: number | undefined;
  const close = () => {
    if (file !== undefined) closeSync(file);
    file = undefined;
  };
  const reader = createTarReader({
    entry(entry) {
      close();
      const key = keyOf(entry.path);
      if (!wanted.test(key)) return;
      const to = join(tree, key);
      mkdirSync(dirname(to), { recursive: true });
      if (entry.type === "file") file = openSync(to, "w");
      if (entry.type !== "link") return;
      const from = join(tree, keyOf(entry.target));
      if (wanted.test(keyOf(entry.target)) && existsSync(from)) copyFileSync(from, to);
    },
    content(part) {
      for (let at = 0; file !== undefined && at < part.length; ) at += writeSync(file, part, at);
    },
  });
  try {
    for await (const chunk of decompress(compression, createReadStream(path))) reader.write(chunk);
  } finally {
    close();
  }
}

function sync(path: string): void {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
