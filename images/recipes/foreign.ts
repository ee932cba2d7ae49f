/**
 * Lets this machine run programs of another architecture while a recipe is
 * made: registers qemu-user with binfmt_misc, and takes that back afterwards.
 */

import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Architecture } from "#protocol/firmware.ts";
import { ImageInvalidError } from "../../server/errors.ts";
import { run } from "./run.ts";

const registry = "/proc/sys/fs/binfmt_misc";
const name = "marcoboot-aarch64";
/** ELF, 64 bit, little endian, executable or shared object, machine 0xb7 (AArch64); from the ELF specification. */
const magic =
  "\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00";
const mask =
  "\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff";

const hostArchitecture: Architecture = process.arch === "arm64" ? "arm64" : "amd64";

/** @throws ImageInvalidError when neither a registration nor qemu-aarch64-static is to be had */
export async function withForeignBinaries<T>(
  architecture: Architecture,
  cache: string,
  work: () => Promise<T>,
): Promise<T> {
  if (architecture === hostArchitecture) return work();
  if (architecture !== "arm64") {
    throw new ImageInvalidError(`programs of ${architecture} cannot be run on ${hostArchitecture}`);
  }
  if (!existsSync(join(registry, "register"))) {
    await run("mount", ["-t", "binfmt_misc", "binfmt_misc", registry]);
  }
  if (isRegistered()) return work();
  const interpreter = [
    "/usr/bin/qemu-aarch64-static",
    join(cache, "qemu-user", "qemu-aarch64-static"),
  ].find(existsSync);
  if (interpreter === undefined) {
    throw new ImageInvalidError("qemu-aarch64-static is not there: run npm run setup");
  }
  // Flag F: the kernel opens the interpreter now, so that it works inside the new root too.
  writeFileSync(join(registry, "register"), `:${name}:M::${magic}:${mask}:${interpreter}:F`);
  try {
    return await work();
  } finally {
    writeFileSync(join(registry, name), "-1");
  }
}

function isRegistered(): boolean {
  return readdirSync(registry).some((entry) => /aarch64/.test(entry));
}
