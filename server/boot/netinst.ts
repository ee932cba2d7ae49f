/**
 * The netinst artefacts of each architecture, as nodes fetch them.
 *
 *   kernel          as it lies on disk
 *   initrd          stage1.cpio.zst · zeros to a multiple of 4 · site overlay (cpio)
 *   agent.squashfs  stage 2, streamed from disk
 *
 * The site overlay carries what differs from site to site: the server's public
 * key, and the digest and size stage 2 must have. It is made here so that the
 * artefacts themselves can be the same everywhere. A new build on disk is taken
 * up at the next request.
 */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Architecture } from "#protocol/firmware.ts";
import { packCpio, padding } from "../../netinst/initramfs/cpio.ts";
import type { Config } from "../config.ts";
import type { Log } from "../log.ts";
import type { BootFile } from "./file.ts";
import { bootFile, type FileCache, fileVersion } from "./file-cache.ts";

export const netinstParts = ["kernel", "initrd", "agent.squashfs"] as const;
export type NetinstPart = (typeof netinstParts)[number];

export interface Netinst {
  /** Undefined when this architecture was not built, or its netinst.json is damaged. */
  open(architecture: Architecture, part: NetinstPart): BootFile | undefined;
}

export interface NetinstContext {
  readonly config: Pick<Config, "netinstDirectory" | "discovery">;
  /** ed25519 public key, base64 of the 32 octets. */
  readonly site: { readonly serverKey: string };
  readonly cache: FileCache;
  readonly log: Log;
}

interface Stage2 {
  readonly digest: string;
  readonly sizeBytes: number;
}

export function createNetinst(context: NetinstContext): Netinst {
  const { config, cache, log } = context;
  const made = new Map<Architecture, { readonly version: string; readonly file: BootFile }>();

  const initrd = (architecture: Architecture): BootFile | undefined => {
    const directory = join(config.netinstDirectory, architecture);
    const described = join(directory, "netinst.json");
    const stage1 = cache.open(join(directory, "stage1.cpio.zst"), "stage1.cpio.zst");
    const version = `${stage1?.etag}${fileVersion(described)}`;
    if (!stage1) return undefined;
    const known = made.get(architecture);
    if (known?.version === version) return known.file;
    const stage2 = readStage2(described, log);
    if (!stage2) return undefined;
    const head = stage1.bytes();
    const bytes = Buffer.concat([head, padding(head.length), siteOverlay(context, stage2)]);
    const file = bootFile("initrd", bytes, etagOf(bytes));
    made.set(architecture, { version, file });
    return file;
  };

  return {
    open(architecture, part) {
      const directory = join(config.netinstDirectory, architecture);
      switch (part) {
        case "initrd":
          return initrd(architecture);
        case "kernel":
          return cache.open(join(directory, part), part);
        case "agent.squashfs":
          return cache.openLarge(join(directory, part), part);
      }
    },
  };
}

/** Exported for the test: the archive the kernel unpacks over stage 1. */
export function siteOverlay(
  context: Pick<NetinstContext, "config" | "site">,
  stage2: Stage2,
): Uint8Array {
  const { group, port } = context.config.discovery;
  const site = { serverKey: context.site.serverKey, stage2, discovery: { group, port } };
  const file = (name: string, text: string) => ({
    kind: "file" as const,
    path: `etc/marcoboot/${name}`,
    content: Buffer.from(`${text}\n`),
  });
  return packCpio([
    { kind: "directory", path: "etc" },
    { kind: "directory", path: "etc/marcoboot" },
    file("site.json", JSON.stringify(site)),
    // for the shell of stage 1, which cannot read JSON:
    file("stage2.sha256", stage2.digest),
    file("stage2.size", String(stage2.sizeBytes)),
  ]);
}

function readStage2(path: string, log: Log): Stage2 | undefined {
  try {
    const value = JSON.parse(readFileSync(path, "utf8")) as Partial<Record<string, unknown>>;
    const { stage2Digest: digest, stage2Bytes: sizeBytes } = value;
    if (typeof digest !== "string" || !/^[0-9a-f]{64}$/.test(digest)) {
      throw new RangeError(`stage2Digest is not a sha-256: ${JSON.stringify(digest)}`);
    }
    if (typeof sizeBytes !== "number" || !Number.isSafeInteger(sizeBytes) || sizeBytes < 1) {
      throw new RangeError(`stage2Bytes is not a size: ${JSON.stringify(sizeBytes)}`);
    }
    return { digest, sizeBytes };
  } catch (error) {
    log.error({ err: error, path }, "netinst is not as `marcoboot netinst build` leaves it");
    return undefined;
  }
}

function etagOf(bytes: Uint8Array): string {
  return `"${createHash("sha256").update(bytes).digest("hex").slice(0, 32)}"`;
}
