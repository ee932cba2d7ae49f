/**
 * Makes the netinst of one architecture:
 *
 *   kernel            Debian's (arm64: the uncompressed Image)
 *   stage1.cpio.zst   busybox, drivers, init
 *   agent.squashfs    stage 2: Node and the agent
 *   netinst.json      what the three are, for the server and `netinst show`
 *
 * A part is made anew only when something it is made of changed; the digest of
 * those inputs is kept in `inputs.json` beside them.
 */

import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import type { Architecture } from "#protocol/firmware.ts";
import { type Progress, timed } from "./command.ts";
import { buildGrub } from "./grub.ts";
import { withLock } from "./lock.ts";
import { openPrivateApt, type PrivateApt } from "./private-apt.ts";
import { buildStage1 } from "./stage1.ts";
import { bundleAgent, layRuntime, nodeVersion, packSquashfs } from "./stage2.ts";

export interface NetinstRequest {
  readonly architecture: Architecture;
  /** Receives the four files, e.g. /var/cache/marcoboot/netinst/amd64. */
  readonly output: string;
  /** Directory of caches, e.g. /var/cache/marcoboot. */
  readonly cache: string;
  readonly log: Progress;
}

/** Contents of netinst.json. */
export interface Netinst {
  readonly arch: Architecture;
  readonly kernelVersion: string;
  readonly kernelBytes: number;
  readonly stage1Bytes: number;
  readonly stage2Bytes: number;
  /** sha-256 of agent.squashfs, hex. */
  readonly stage2Digest: string;
}

interface Inputs {
  readonly stage1?: string;
  readonly stage2?: string;
}

const here = import.meta.dirname;
const project = resolve(here, "../..");

/**
 * @throws CommandError when a package cannot be had or a tool fails; what lies in
 *   `output` then is the last whole build
 */
export async function buildNetinst(request: NetinstRequest): Promise<Netinst> {
  const { cache, architecture, log } = request;
  return withLock(join(cache, `netinst-${architecture}.lock`), log, () => build(request));
}

async function build(request: NetinstRequest): Promise<Netinst> {
  const { architecture, output, cache, log } = request;
  const work = join(cache, "work", architecture);
  mkdirSync(work, { recursive: true });
  mkdirSync(output, { recursive: true });
  const apt = openPrivateApt(join(cache, "apt"), log);
  const before = readJson<Inputs>(join(output, "inputs.json")) ?? {};

  const kernelVersion = await apt.versionedKernel(architecture);
  const stage1 = digestOf(stage1Sources, kernelVersion);
  if (before.stage1 !== stage1 || !whole(output, ["kernel", "stage1.cpio.zst"])) {
    await timed(log, `netinst ${architecture}: stage 1 with kernel ${kernelVersion}`, () =>
      buildStage1({ apt, work }, architecture, output),
    );
    writeJson(join(output, "inputs.json"), { ...before, stage1 } satisfies Inputs);
  }

  const grub = await ensureGrub(apt, cache, log);
  const runtime = await ensureRuntime(request, { apt, grub, work });
  const stage2 = agentDigest(runtime.digest);
  const isCurrent = before.stage2 === stage2 && whole(output, ["agent.squashfs"]);
  if (!isCurrent) {
    await timed(log, `netinst ${architecture}: stage 2`, async () => {
      await bundleAgent(runtime.path);
      await packSquashfs(runtime.path, join(output, "agent.squashfs"));
    });
  }
  const known = readJson<Netinst>(join(output, "netinst.json"));
  if (known && isCurrent && before.stage1 === stage1) return known;

  const netinst: Netinst = {
    arch: architecture,
    kernelVersion,
    kernelBytes: statSync(join(output, "kernel")).size,
    stage1Bytes: statSync(join(output, "stage1.cpio.zst")).size,
    stage2Bytes: statSync(join(output, "agent.squashfs")).size,
    stage2Digest: createHash("sha256")
      .update(readFileSync(join(output, "agent.squashfs")))
      .digest("hex"),
  };
  writeJson(join(output, "netinst.json"), netinst);
  writeJson(join(output, "inputs.json"), { stage1, stage2 } satisfies Inputs);
  return netinst;
}

const stage1Sources = ["stage1.ts", "modules.ts", "cpio.ts", "init", "udhcpc.script"];
const runtimeSources = ["stage2.ts", "run", "grub.ts"];

/** @returns the directory with GRUB's four files, made when grub.ts changed. */
export async function ensureGrub(apt: PrivateApt, cache: string, log: Progress): Promise<string> {
  const directory = join(cache, "grub");
  const stamp = join(directory, "inputs.json");
  const digest = digestOf(["grub.ts"], "");
  if (readJson<{ digest: string }>(stamp)?.digest !== digest) {
    await timed(log, "grub: making images", () => buildGrub(apt, directory));
    writeJson(stamp, { digest });
  }
  return directory;
}

/** Everything of stage 2 but the bundle, kept unpacked in the cache. */
async function ensureRuntime(
  request: NetinstRequest,
  context: { readonly apt: PrivateApt; readonly grub: string; readonly work: string },
): Promise<{ readonly path: string; readonly digest: string }> {
  const { architecture, cache, log } = request;
  const digest = digestOf(runtimeSources, nodeVersion());
  const path = join(context.work, `runtime-${digest.slice(0, 16)}`);
  if (!existsSync(path)) {
    for (const old of readdirSync(context.work).filter((name) => name.startsWith("runtime-"))) {
      rmSync(join(context.work, old), { recursive: true });
    }
    const fresh = join(context.work, "runtime-new");
    await timed(log, `netinst ${architecture}: Node ${nodeVersion()}, tools and libraries`, () =>
      layRuntime({ apt: context.apt, cache, grub: context.grub }, architecture, fresh),
    );
    renameSync(fresh, path);
  }
  return { path, digest };
}

/** Everything that may end up in the bundle: finding out what really does takes a bundling. */
function agentDigest(runtime: string): string {
  const hash = createHash("sha256").update(runtime);
  hash.update(readFileSync(join(project, "package-lock.json")));
  for (const room of ["netinst", "images", "server/discovery/shared", "server/protocol"]) {
    const files = readdirSync(join(project, room), { recursive: true, encoding: "utf8" });
    for (const file of files.filter((name) => name.endsWith(".ts")).sort()) {
      if (file.startsWith("initramfs/") || file.startsWith("recipes/")) continue;
      hash.update(`\0${room}/${file}\0`).update(readFileSync(join(project, room, file)));
    }
  }
  return hash.digest("hex");
}

function digestOf(sources: readonly string[], version: string): string {
  const hash = createHash("sha256").update(version);
  for (const name of sources) hash.update(`\0${name}\0`).update(readFileSync(join(here, name)));
  return hash.digest("hex");
}

function whole(directory: string, names: readonly string[]): boolean {
  return names.every((name) => existsSync(join(directory, name)));
}

/** Our own files; one that is damaged counts as missing, and is made again. */
function readJson<T>(path: string): T | undefined {
  if (!existsSync(path)) return undefined;
  try {
    return JSON.parse(readFileSync(path, "utf8")) as T;
  } catch {
    return undefined; // cut off by a power cut
  }
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(`${path}.new`, `${JSON.stringify(value, undefined, 2)}\n`);
  renameSync(`${path}.new`, path);
}
