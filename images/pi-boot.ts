/**
 * What of a root file system a Raspberry Pi's firmware reads, and under which names.
 *
 *   bootcode.bin start*.elf fixup*.dat   the firmware's own, and whatever else lies there: one set for
 *                                        the whole boot partition
 *   kernel8.img initrd.img *.dtb …       the system's, with overlays/: behind `os_prefix`, so that each
 *                                        root slot has a directory of them
 *   config.txt                           statements, which the firmware reads first
 *
 * `os_prefix` goes before the names of kernel, initramfs, device trees, overlays and cmdline.txt; where
 * kernel or device tree is not found behind it the firmware leaves it out, and overlays count there
 * only beside a README (raspberrypi/documentation, config_txt/boot.adoc, "os_prefix"). All models know
 * it. `autoboot.txt` chooses among boot partitions instead: with two roots and data that would be a
 * fifth partition, which an MBR has not.
 *
 * Only regular files count: a link of an image would lead to files of the system that reads it.
 */

import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { RootSlot } from "#protocol/root-slots.ts";

export interface PiBoot {
  /** Paths by their names on the boot partition; what both slots have in common. */
  readonly firmware: ReadonlyMap<string, string>;
  /** The same for the system's files; of the overlays with their directory. */
  readonly system: ReadonlyMap<string, string>;
  /** Of config.txt, in order, without `os_prefix`. */
  readonly settings: readonly string[];
}

export interface KernelFiles {
  /** In /boot. */
  readonly kernel: string;
  readonly initrd?: string;
}

/** The newest kernel. @param names - of the files in /boot */
export function newestKernel(names: readonly string[]): KernelFiles | undefined {
  const kernel = names
    .filter((name) => /^vmlinuz-./.test(name))
    .sort((a, b) => b.localeCompare(a, "en", { numeric: true }))[0];
  if (kernel === undefined) return undefined;
  const version = kernel.slice("vmlinuz-".length);
  const initrd = [`initrd.img-${version}`, `initrd-${version}`, `initramfs-${version}.img`].find(
    (name) => names.includes(name),
  );
  return { kernel, ...(initrd === undefined ? {} : { initrd }) };
}

/**
 * EEPROMs before 2025-09 stop counting blocks of TFTP at 65535 of 1024 octets; the last block must be
 * a short one. A larger file would be cut without an error.
 */
export const maxBootFileOctets = 65535 * 1024 - 1;

const firmwareFile = /^(?:bootcode\.bin|start\w*\.elf|fixup\w*\.dat)$/;
/** Made anew. */
const ownFiles: ReadonlySet<string> = new Set([
  ...["config.txt", "cmdline.txt", "marcoboot-layout.json"],
]);
/** What `os_prefix` goes before, by the usual names. */
const systemFile = /^(?:kernel\w*\.img|init\w*(?:\.img)?|[\w.+-]+\.dtb)$/;
/** No slash, no dot first: such a name leads nowhere else, on a disk or by TFTP. */
const plainName = /^\w[\w.+-]*$/;

/** Whether it is what a Raspberry Pi of any kind begins with: the same whatever it boots. */
export function isFirmware(name: string): boolean {
  return firmwareFile.test(name);
}

/** Whether a {@link PiBoot} may have a file of this name. */
export function isBootName(name: string): boolean {
  return plainName.test(name.replace(/^overlays\//, ""));
}

/**
 * The files of /boot/firmware where that has a config.txt; else the distribution's kernel, initrd and
 * device trees.
 *
 * @returns why such a system cannot boot, in words, where it cannot
 */
export function readPiBoot(tree: string): PiBoot | string {
  const directory = join(tree, "boot/firmware");
  const names = filesIn(directory);
  if (names.includes("config.txt")) return broughtBoot(directory);
  const firmware = pathsOf(directory, names);
  const boot = join(tree, "boot");
  const found = newestKernel(filesIn(boot));
  if (!found) return "the image has no /boot/vmlinuz-*";
  const { kernel, initrd } = found;
  const version = kernel.slice("vmlinuz-".length);
  const trees = join(tree, "usr/lib", `linux-image-${version}`, "broadcom");
  const system = new Map([
    ["kernel8.img", join(boot, kernel)],
    ...(initrd === undefined ? [] : [["initrd.img", join(boot, initrd)] as const]),
    ...pathsOf(
      trees,
      filesIn(trees).filter((name) => /^bcm2\d+-rpi-.*\.dtb$/.test(name)),
    ),
  ]);
  const settings = [
    // The kernel's own names of device trees: bcm2837 where Raspberry Pi says bcm2710.
    ...["arm_64bit=1", "enable_uart=1", "upstream_kernel=1", "kernel=kernel8.img"],
    ...(initrd === undefined ? [] : ["initramfs initrd.img followkernel"]),
  ];
  return { firmware, system, settings };
}

function broughtBoot(directory: string): PiBoot | string {
  const { settings, prefix } = statementsOf(readFileSync(join(directory, "config.txt"), "utf8"));
  const own = prefix === "" ? directory : join(directory, prefix);
  const overlays = join(own, "overlays");
  const named = new Set(settings.flatMap(namedBy));
  const isSystem = (name: string) => named.has(name) || systemFile.test(name);
  const there = (path: string) => filesIn(path).filter((name) => !ownFiles.has(name));
  const firmware = pathsOf(
    directory,
    there(directory).filter((name) => !isSystem(name)),
  );
  const system = new Map([
    ...pathsOf(
      own,
      there(own).filter((name) => prefix !== "" || isSystem(name)),
    ),
    ...pathsOf(overlays, filesIn(overlays), "overlays/"),
  ]);
  if (![...system.keys()].some((name) => isKernel(name, settings))) {
    return "/boot/firmware of the image has a config.txt, and no kernel beside it";
  }
  return { firmware, system, settings };
}

/** Files of the system that a statement names, as `kernel=vmlinuz` and `initramfs a,b followkernel` do. */
function namedBy(statement: string): readonly string[] {
  const found = /^(?:(?:kernel|ramfsfile|device_tree)=|initramfs\s+)(\S+)/.exec(statement)?.[1];
  return found?.split(",") ?? [];
}

/** Whether the firmware takes this file for its kernel. @param settings - of config.txt */
export function isKernel(name: string, settings: readonly string[]): boolean {
  return settings.includes(`kernel=${name}`) || /^kernel\w*\.img$/.test(name);
}

/** Of a captured system the directory of its slot is the prefix. */
function statementsOf(config: string): { settings: readonly string[]; prefix: string } {
  const lines = config
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  const isPrefix = (line: string) => line.startsWith(prefixStatement);
  const prefix = lines.find(isPrefix)?.slice(prefixStatement.length) ?? "";
  return {
    settings: lines.filter((line) => !isPrefix(line)),
    prefix: /^[ab]\/$/.test(prefix) ? prefix.slice(0, -1) : "",
  };
}

export const prefixStatement = "os_prefix=";
/** A sector is written whole or not at all. */
const configOctets = 512;

/**
 * config.txt of a boot partition with two slots: one sector, so that choosing is one write.
 *
 * @returns why not, in words, where the image's statements cannot be written so
 */
export function slotConfig(
  { settings }: Pick<PiBoot, "settings">,
  slot: RootSlot,
): Buffer | string {
  if (settings.some((line) => /^include\b/.test(line))) {
    return "config.txt of the image includes other files, which bootcode.bin does not: make it one file";
  }
  const lines = [`# by marcoboot: this root slot boots`, `${prefixStatement}${slot}/`, ...settings];
  const text = Buffer.from(`${lines.join("\n")}\n`);
  if (text.length > configOctets) {
    return `config.txt of the image has ${text.length - configOctets} octets too many: two root slots need it in one sector, comments aside`;
  }
  return Buffer.concat([text, Buffer.alloc(configOctets - text.length, "\n")]);
}

/** What names the root to the kernel, on the card and by network alike. */
export function piCommandLine(partitionUuid: string, slot: RootSlot | undefined): string {
  const words = [
    ...["console=serial0,115200", "console=tty1", `root=PARTUUID=${partitionUuid}`],
    ...["rootfstype=ext4", "rootwait", "ro"],
    // A slot that cannot start goes back to the other one: its panic restarts the machine.
    ...(slot === undefined ? [] : ["panic=30"]),
  ];
  return words.join(" ");
}

function filesIn(directory: string): readonly string[] {
  if (!lstatSync(directory, { throwIfNoEntry: false })?.isDirectory()) return [];
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isFile() && plainName.test(entry.name))
    .map(({ name }) => name)
    .sort();
}

function pathsOf(
  directory: string,
  names: readonly string[],
  prefix = "",
): ReadonlyMap<string, string> {
  return new Map(names.map((name) => [`${prefix}${name}`, join(directory, name)]));
}
