/**
 * Stage 2: `agent.squashfs`, the Node runtime with the agent, its tools and their libraries.
 *
 *   run            starts bin/node through lib/ld-linux* with lib/ as library path
 *   agent.mjs      netinst/main.ts and all it imports, bundled
 *   bin/node       stripped
 *   lib/           loader and shared libraries, flat
 *   sbin/          sfdisk mke2fs resize2fs e2fsck debugfs dumpe2fs mkfs.vfat tar xz smartctl
 *   share/grub/    GRUB for the disks written from a root file system tar
 *
 * All but the bundle changes with the packages only; it is kept unpacked in the
 * cache, so a changed agent costs one bundling and one mksquashfs.
 */

import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { stripVTControlCharacters } from "node:util";
import type { Architecture } from "#protocol/firmware.ts";
import { CommandError, run } from "./command.ts";
import type { PrivateApt } from "./private-apt.ts";

const here = import.meta.dirname;
const project = resolve(here, "../..");

/** Debian packages that hold the tools and every library they and Node ask for. */
const packages = [
  ...["libc6", "libstdc++6", "libgcc-s1", "libatomic1"],
  ...["e2fsprogs", "libext2fs2", "libcom-err2", "libss2", "libblkid1", "libuuid1"],
  ...["fdisk", "libfdisk1", "libsmartcols1", "libreadline8", "libtinfo6"],
  ...["dosfstools", "xz-utils", "liblzma5"],
  ...["smartmontools", "libselinux1", "libpcre2-8-0", "tar", "libacl1"],
];

const tools = [
  ...["sbin/sfdisk", "sbin/mke2fs", "sbin/resize2fs", "sbin/e2fsck", "sbin/mkfs.vfat"],
  ...["sbin/debugfs", "sbin/dumpe2fs", "bin/tar", "usr/bin/xz", "usr/sbin/smartctl"],
];

const machines = {
  amd64: {
    npm: "x64",
    triplet: "x86_64-linux-gnu",
    loader: "ld-linux-x86-64.so.2",
    strip: "x86_64-linux-gnu-strip",
    grub: ["boot.img", "core.img", "bootx64.efi"],
  },
  arm64: {
    npm: "arm64",
    triplet: "aarch64-linux-gnu",
    loader: "ld-linux-aarch64.so.1",
    strip: "aarch64-linux-gnu-strip",
    grub: ["bootaa64.efi"],
  },
} as const;

export interface RuntimeContext {
  readonly apt: PrivateApt;
  /** Directory of caches; `npm/` is made in it. */
  readonly cache: string;
  /** `boot.img core.img bootx64.efi bootaa64.efi`. */
  readonly grub: string;
}

/** Version of Node that stage 2 carries: the one that runs the server. */
export function nodeVersion(): string {
  const manifest: unknown = JSON.parse(
    readFileSync(join(project, "node_modules/node/package.json"), "utf8"),
  );
  return String((manifest as { readonly version: string }).version);
}

/** Lays everything but the bundle into `output`. */
export async function layRuntime(
  context: RuntimeContext,
  architecture: Architecture,
  output: string,
): Promise<void> {
  const machine = machines[architecture];
  rmSync(output, { recursive: true, force: true });
  for (const directory of ["bin", "lib", "sbin", "share/grub"]) {
    mkdirSync(join(output, directory), { recursive: true });
  }
  const node = join(output, "bin/node");
  cpSync(await findNode(context.cache, machine.npm), node);
  await run(machine.strip, ["--strip-all", node]);

  const unpacked = await context.apt.unpack("own", architecture, packages);
  for (const tool of tools) {
    const source = unpacked.map((root) => join(root, tool)).find((path) => existsSync(path));
    if (!source) throw new CommandError(`no package of ${architecture} has ${tool}`);
    cpSync(realpathSync(source), join(output, "sbin", tool.split("/").at(-1) ?? tool));
  }
  const libraryDirectories = unpacked
    .flatMap((root) => ["lib", "usr/lib"].map((part) => join(root, part, machine.triplet)))
    .filter((path) => existsSync(path));
  const programs = readdirSync(join(output, "sbin")).map((name) => join(output, "sbin", name));
  await copyLibraries([node, ...programs], libraryDirectories, join(output, "lib"), machine.loader);

  for (const name of machine.grub) {
    cpSync(join(context.grub, name), join(output, "share/grub", name));
  }
  cpSync(join(here, "run"), join(output, "run"));
  chmodSync(join(output, "run"), 0o755);
}

/** Copies what `programs` need, and what that needs, and so on; flat, under the names asked for. */
async function copyLibraries(
  programs: readonly string[],
  from: readonly string[],
  to: string,
  loader: string,
): Promise<void> {
  const done = new Set<string>();
  const copy = (name: string): string => {
    const source = from.map((directory) => join(directory, name)).find((path) => existsSync(path));
    if (!source) throw new CommandError(`no package of the list has the library ${name}`);
    cpSync(realpathSync(source), join(to, name));
    done.add(name);
    return join(to, name);
  };
  let pending = [...programs, copy(loader)];
  while (pending.length > 0) {
    const shown = await run("readelf", ["-d", "-W", ...pending]);
    const needed = new Set([...shown.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map((match) => match[1]));
    pending = [...needed].flatMap((name) => (name && !done.has(name) ? [copy(name)] : []));
  }
}

/** The binary that npm installed for this machine, or the same version's package for the other kind. */
async function findNode(cache: string, npmArchitecture: "x64" | "arm64"): Promise<string> {
  if (process.arch === npmArchitecture) return join(project, "node_modules/node/bin/node");
  const version = nodeVersion();
  const name = `node-linux-${npmArchitecture}`;
  const directory = join(cache, "npm", `${name}-${version}`);
  if (!existsSync(directory)) {
    const fresh = `${directory}.new`;
    rmSync(fresh, { recursive: true, force: true });
    mkdirSync(fresh, { recursive: true });
    await run("npm", ["pack", "--silent", "--pack-destination", fresh, `${name}@${version}`]);
    const packed = join(fresh, `${name}-${version}.tgz`);
    await run("tar", ["-xzf", packed, "-C", fresh, "package/bin/node"]);
    rmSync(packed);
    renameSync(fresh, directory);
  }
  return join(directory, "package/bin/node");
}

/**
 * Bundles netinst/main.ts into `<output>/agent.mjs`; Node's own modules stay imports.
 *
 * @throws CommandError with what the bundler said
 */
export async function bundleAgent(output: string): Promise<void> {
  const { build } = await import("vite");
  try {
    await build({
      root: project,
      configFile: false,
      logLevel: "silent",
      publicDir: false,
      ssr: { noExternal: true, target: "node" },
      build: {
        ssr: join(project, "netinst/main.ts"),
        outDir: output,
        emptyOutDir: false,
        minify: false,
        target: "esnext",
        rolldownOptions: {
          output: { format: "es", entryFileNames: "agent.mjs", codeSplitting: false },
        },
      },
    });
  } catch (cause) {
    const said = stripVTControlCharacters(cause instanceof Error ? cause.message : String(cause));
    throw new CommandError(`netinst/main.ts cannot be bundled: ${said.trim()}`, { cause });
  }
}

/** Packs `tree` into one squashfs; owner 0:0 and time 0, so that equal trees give equal digests. */
export async function packSquashfs(tree: string, output: string): Promise<void> {
  const fresh = `${output}.new`;
  rmSync(fresh, { force: true });
  await run("mksquashfs", [
    ...[tree, fresh, "-noappend", "-quiet", "-no-progress", "-no-xattrs", "-all-root"],
    ...["-comp", "zstd", "-Xcompression-level", "12", "-b", "256K"],
    ...["-mkfs-time", "0", "-all-time", "0"],
  ]);
  renameSync(fresh, output);
}
