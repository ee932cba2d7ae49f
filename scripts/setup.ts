/**
 * `npm run setup`: everything the project needs on this machine, made once and kept.
 *
 *   npm run setup [-- --for serve|demo|test|all] [--arch amd64,arm64] [--refresh]
 *
 * Debian packages; below /var/cache/marcoboot: boot loaders, GRUB images, the netinst
 * of each architecture. A second run finds all of it and ends at once. `--refresh`
 * reads the package lists again and takes newer kernels.
 */

import { createHash } from "node:crypto";
import {
  accessSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Architecture } from "#protocol/firmware.ts";
import { buildNetinst, ensureGrub } from "../netinst/initramfs/build.ts";
import { CommandError, type Progress, timed } from "../netinst/initramfs/command.ts";
import { withLock } from "../netinst/initramfs/lock.ts";
import { openPrivateApt, type PrivateApt } from "../netinst/initramfs/private-apt.ts";
import { SetupError } from "./setup/error.ts";
import { layLoaders } from "./setup/loaders.ts";
import { type Purpose, packagesFor, purposes } from "./setup/needs.ts";
import { ensurePackages } from "./setup/packages.ts";
import { readArguments } from "./usage.ts";

export const cacheDirectory = "/var/cache/marcoboot";

export interface SetupRequest {
  readonly architectures: readonly Architecture[];
  readonly purpose: Purpose;
  /** Where progress goes; default: standard error. */
  readonly log?: Progress;
}

/**
 * Idempotent; waits for another set-up that is under way.
 *
 * @throws SetupError with a remedy
 * @throws CommandError with a tool's last words
 */
export async function setup(request: SetupRequest): Promise<void> {
  const { architectures, purpose } = request;
  const log = request.log ?? ((line) => void process.stderr.write(`setup: ${line}\n`));
  const cache = cacheDirectory;
  if (process.arch !== "x64") {
    throw new SetupError(
      `this machine is ${process.arch}: netinst and boot loaders are built on amd64 so far`,
      "run it on an amd64 Debian; its netinst serves arm64 nodes all the same",
    );
  }
  makeCache(cache);
  await withLock(join(cache, "setup.lock"), log, async () => {
    await ensurePackages(packagesFor(purpose, architectures), log);
    const apt = openPrivateApt(join(cache, "apt"), log);
    await ensureGrub(apt, cache, log);
    await ensureLoaders(apt, cache, log);
    if (purpose !== "serve" && architectures.includes("arm64")) await ensureQemuUser(apt, cache);
  });
  for (const architecture of architectures) {
    await buildNetinst({
      architecture,
      output: join(cache, "netinst", architecture),
      cache,
      log,
    });
  }
}

function makeCache(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
    accessSync(path, constants.W_OK);
  } catch (cause) {
    throw new SetupError(`${path} cannot be written`, "run as root", { cause });
  }
}

async function ensureLoaders(apt: PrivateApt, cache: string, log: Progress): Promise<void> {
  const directory = join(cache, "loaders");
  const stamp = join(directory, ".inputs");
  const inputs = createHash("sha256")
    .update(readFileSync(join(import.meta.dirname, "setup/loaders.ts")))
    .update(await apt.versionedKernel("arm64"))
    .digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === inputs) return;
  await timed(log, "boot loaders", () => layLoaders(apt, directory));
  writeFileSync(stamp, inputs);
}

/** Runs arm64 programs while an arm64 image is made; not needed where they run by themselves. */
async function ensureQemuUser(apt: PrivateApt, cache: string): Promise<void> {
  const target = join(cache, "qemu-user/qemu-aarch64-static");
  if (process.arch === "arm64" || existsSync(target)) return;
  const [unpacked = ""] = await apt.unpack("own", "amd64", ["qemu-user-static"]);
  mkdirSync(join(cache, "qemu-user"), { recursive: true });
  cpSync(join(unpacked, "usr/bin/qemu-aarch64-static"), target);
}

function parseArchitecture(text: string): Architecture {
  if (text === "amd64" || text === "arm64") return text;
  throw new SetupError(`--arch ${text} is not known`, "--arch amd64,arm64");
}

function parsePurpose(text: string): Purpose {
  const found = purposes.find((purpose) => purpose === text);
  if (found) return found;
  throw new SetupError(`--for ${text} is not known`, `--for ${purposes.join("|")}`);
}

const usage = `
npm run setup [-- options]: everything the project needs on this machine, made once

  --for serve|demo|test|all   default: serve
  --arch amd64,arm64          default: both
  --refresh                   read the package lists again, take newer kernels
`;

async function main(): Promise<void> {
  const { values } = readArguments(usage, {
    options: {
      for: { type: "string", default: "serve" },
      arch: { type: "string", default: "amd64,arm64" },
      refresh: { type: "boolean", default: false },
    },
  });
  const begun = performance.now();
  if (values.refresh) rmSync(join(cacheDirectory, "apt"), { recursive: true, force: true });
  await setup({
    purpose: parsePurpose(values.for),
    architectures: values.arch.split(",").map(parseArchitecture),
  });
  process.stderr.write(
    `setup: all is there, ${((performance.now() - begun) / 1000).toFixed(1)} s\n`,
  );
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof SetupError || error instanceof CommandError)) throw error;
    process.stderr.write(`error: ${error.message}\n`);
    if (error instanceof SetupError) process.stderr.write(`hint: ${error.remedy}\n`);
    process.exitCode = 1;
  }
}
