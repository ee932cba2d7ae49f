/**
 * Stage 1: kernel, and the small initramfs of busybox, drivers and `init`.
 *
 * What depends on the site (server key, digest of stage 2) is not inside: the
 * server appends it as a second archive, so one build serves every site.
 */

import { cpSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import type { Architecture } from "#protocol/firmware.ts";
import { run } from "./command.ts";
import { type CpioEntry, packCpio } from "./cpio.ts";
import { chooseModules, moduleDirectory, modulesLoadedByName } from "./modules.ts";
import type { PrivateApt } from "./private-apt.ts";

export interface Stage1 {
  readonly kernelVersion: string;
}

const here = import.meta.dirname;
/** What `init` expects to find; it makes the rest. */
const directories = ["bin", "dev", "etc", "etc/marcoboot", "proc", "run", "sys", "tmp", "lib"];

/** Writes `kernel` and `stage1.cpio.zst` into `output`. `work` is scratch space. */
export async function buildStage1(
  context: { readonly apt: PrivateApt; readonly work: string },
  architecture: Architecture,
  output: string,
): Promise<Stage1> {
  const { apt, work } = context;
  const kernelVersion = await apt.versionedKernel(architecture);
  const [kernelPackage = "", busybox = ""] = await apt.unpack("own", architecture, [
    `linux-image-${kernelVersion}`,
    "busybox-static",
  ]);
  const image = join(kernelPackage, "boot", `vmlinuz-${kernelVersion}`);
  writeFileSync(join(output, "kernel"), bootableKernel(image, architecture));

  const modules = await layModules(kernelPackage, architecture, work);
  const archive = join(work, "stage1.cpio");
  writeFileSync(
    archive,
    packCpio([
      ...directories.map((path) => ({ kind: "directory", path }) as const),
      { kind: "link", path: "sbin", target: "bin" },
      { kind: "link", path: "bin/sh", target: "busybox" },
      file("bin/busybox", readFileSync(join(busybox, "bin/busybox")), true),
      file("init", readFileSync(join(here, "init")), true),
      file("etc/udhcpc.script", readFileSync(join(here, "udhcpc.script")), true),
      file("etc/marcoboot/modules", `${modulesLoadedByName(architecture).join(" ")}\n`),
      // No true clock is earlier than the kernel it runs: `init` compares with this.
      file("etc/marcoboot/built", `${Math.floor(statSync(image).mtimeMs / 1000)}\n`),
      ...modules,
    ]),
  );
  const compressed = `${archive}.zst`;
  await run("zstd", ["-q", "-f", "-19", "-T0", archive, "-o", compressed]);
  // The kernel looks for the next archive at a multiple of four.
  const bytes = readFileSync(compressed);
  writeFileSync(
    join(output, "stage1.cpio.zst"),
    Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]),
  );
  return { kernelVersion };
}

function file(path: string, content: string | Uint8Array, executable = false): CpioEntry {
  return { kind: "file", path, content: Buffer.from(content), executable };
}

/** iPXE and the Pi's firmware start an arm64 Image, not a compressed one. */
function bootableKernel(path: string, architecture: Architecture): Buffer {
  const bytes = readFileSync(path);
  const compressed = bytes[0] === 0x1f && bytes[1] === 0x8b;
  return architecture === "arm64" && compressed ? gunzipSync(bytes) : bytes;
}

/** The chosen modules, decompressed, with the tables depmod makes of them. */
async function layModules(
  kernelPackage: string,
  architecture: Architecture,
  work: string,
): Promise<CpioEntry[]> {
  const source = moduleDirectory(kernelPackage);
  const version = basename(source);
  await run("depmod", ["-b", kernelPackage, version]);
  const root = join(work, "modules");
  rmSync(root, { recursive: true, force: true });
  const target = join(root, "lib/modules", version);
  const chosen = chooseModules(source, architecture);
  for (const path of chosen) {
    mkdirSync(dirname(join(target, path)), { recursive: true });
    await copyModule(join(source, path), join(target, plain(path)));
  }
  for (const list of ["modules.order", "modules.builtin"]) {
    cpSync(join(source, list), join(target, list));
  }
  await run("depmod", ["-b", root, version]);

  const top = `lib/modules/${version}`;
  const files = [...chosen.map(plain), "modules.dep", "modules.alias", "modules.symbols"];
  const parents = new Set(files.flatMap((path) => ancestors(path)));
  return [
    ...["lib/modules", top, ...[...parents].sort().map((path) => `${top}/${path}`)].map(
      (path) => ({ kind: "directory", path }) as const,
    ),
    ...files.map((path) => file(`${top}/${path}`, readFileSync(join(target, path)))),
  ];
}

function plain(path: string): string {
  return path.replace(/\.(xz|zst|gz)$/, "");
}

async function copyModule(from: string, to: string): Promise<void> {
  if (from.endsWith(".ko")) return cpSync(from, to);
  const tool = from.endsWith(".xz") ? "xz" : from.endsWith(".zst") ? "zstd" : "gzip";
  cpSync(from, `${to}${from.slice(from.lastIndexOf("."))}`);
  await run(tool, ["-q", "-d", "-f", `${to}${from.slice(from.lastIndexOf("."))}`]);
}

/** `a/b/c` → `a`, `a/b`. */
function ancestors(path: string): string[] {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_part, index) => parts.slice(0, index + 1).join("/"));
}
