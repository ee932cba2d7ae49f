/**
 * The TFTP tree of one Raspberry Pi.
 *
 * To a Pi, TFTP is its boot partition: it asks for names of its own choice,
 * first in a directory named after its serial (or its MAC address), then at the
 * root. All three lead to one tree, made for the node that asks:
 *
 *   bootcode.bin start*.elf fixup*.dat *.dtb overlays/*   from the loaders' directory
 *   kernel8.img initrd.img                                netinst for arm64
 *   config.txt cmdline.txt                                generated
 *
 * A node that tries a root slot (trials.ts) finds that slot's kernel, initrd, device trees and
 * settings in their place, for one boot. A node that shall boot its own disk has an empty tree, so its
 * ROM or EEPROM goes on to the next entry of its boot order.
 */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { MacAddress } from "#protocol/brand.ts";
import type { FirmwareName } from "#protocol/firmware.ts";
import { isBootName, isFirmware, isKernel, maxBootFileOctets } from "../../images/pi-boot.ts";
import type { Config } from "../config.ts";
import type { Log } from "../log.ts";
import type { BootFile } from "./file.ts";
import { createFileCache, type FileCache, fileVersion, textFile } from "./file-cache.ts";
import type { KernelWord } from "./kernel-line.ts";
import type { Netinst } from "./netinst.ts";
import type { Trial, TrialFile } from "./trials.ts";

/** Images whose boot files stay in memory, some 50 MB each. */
const maxTriedImages = 2;
const deviceTree = /^[\w.-]+\.dtb$/;
const overlayFile = /^[\w.-]+\.(?:dtbo|dtb)$/;

/** A Raspberry Pi that shall boot netinst, or try a root slot. */
export interface PiNode {
  readonly mac: MacAddress;
  readonly firmware: FirmwareName;
  /** 8 hexadecimal digits in lower case, when its DHCP told it. */
  readonly serial?: string;
  /** Called when cmdline.txt is fetched. */
  readonly kernelLine: () => readonly KernelWord[];
  readonly trial?: Trial;
}

export interface PiFiles {
  /** @param name - from the wire, without a leading slash */
  open(name: string, node: PiNode): BootFile | undefined;
}

export function createPiFiles(context: {
  readonly config: Pick<Config, "loadersDirectory">;
  readonly netinst: Netinst;
  readonly cache: FileCache;
  readonly log: Log;
}): PiFiles {
  const { netinst, cache, log } = context;
  const directory = join(context.config.loadersDirectory, "raspberry-pi");

  const find = (name: string, node: PiNode): BootFile | undefined => {
    switch (name) {
      case "config.txt":
        return textFile(name, configText(node.firmware));
      case "cmdline.txt":
        return textFile(name, `${node.kernelLine().join(" ")}\n`);
      case "kernel8.img":
        return netinst.open("arm64", "kernel");
      case "initrd.img":
        return netinst.open("arm64", "initrd");
      default:
        return isFirmwareName(name) ? cache.open(join(directory, name), name) : undefined;
    }
  };
  const tried = new Map<string, FileCache>();
  const cacheOf = (image: string): FileCache => {
    const found = tried.get(image) ?? createFileCache();
    tried.delete(image); // to the end of the insertion order
    tried.set(image, found);
    for (const oldest of tried.keys()) {
      if (tried.size <= maxTriedImages) break;
      tried.delete(oldest);
    }
    return found;
  };
  const findTried = (name: string, trial: Trial): BootFile | undefined => {
    const own = cacheOf(trial.directory);
    const config = own.open(join(trial.directory, configFile), configFile);
    if (!config || !isBootName(name)) return undefined;
    const file =
      name === "cmdline.txt"
        ? textFile(name, `${trial.commandLine}\n`)
        : isFirmware(name)
          ? cache.open(join(directory, name), name)
          : own.open(join(trial.directory, name), name);
    return file && trial.mayHave(kindOf(name, config)) ? file : undefined;
  };
  return {
    open(name, node) {
      const own = withoutPrefix(name, node);
      if (own === undefined) return undefined;
      const file = node.trial ? findTried(own, node.trial) : find(own, node);
      if (!file || file.sizeBytes <= maxBootFileOctets) return file;
      log.warn(
        { name: own, sizeBytes: file.sizeBytes, maxFileBytes: maxBootFileOctets },
        "file is too large for a Raspberry Pi's TFTP and is not served",
      );
      return undefined;
    },
  };
}

/** A closed grammar without slashes (but `overlays/`) or leading dots: no name can leave the directory. */
function isFirmwareName(name: string): boolean {
  if (name.startsWith("overlays/")) return overlayFile.test(name.slice("overlays/".length));
  return (isFirmware(name) || deviceTree.test(name)) && !name.startsWith(".");
}

const configFile = "config.txt";

function kindOf(name: string, config: BootFile): TrialFile {
  if (/^(?:bootcode\.bin|start\w*\.elf)$/.test(name)) return "stage";
  const settings = Buffer.from(config.bytes()).toString().split("\n");
  return isKernel(name, settings) ? "kernel" : "other";
}

/** Undefined: the directory of another board. */
function withoutPrefix(name: string, node: PiNode): string | undefined {
  const { prefix, rest } = /^(?<prefix>[0-9a-f-]+)\/(?<rest>.+)$/i.exec(name)?.groups ?? {};
  if (prefix === undefined || rest === undefined) return name;
  const own = prefix.toLowerCase();
  if (own === node.mac.replaceAll(":", "-")) return rest;
  return /^[0-9a-f]{8}$/.test(own) && maySerialBe(own, node) ? rest : undefined;
}

/** A Pi 2 or 3 has the low three octets of its serial in its MAC address; of others we may not know it. */
function maySerialBe(serial: string, node: PiNode): boolean {
  if (node.serial !== undefined) return serial === node.serial;
  if (node.firmware !== "raspberry-pi-3") return true;
  return serial.slice(2) === node.mac.replaceAll(":", "").slice(6);
}

/** Only statements all models understand; `os_check` keeps a Pi 5 from refusing a kernel it does not know. */
export function configText(firmware: FirmwareName): string {
  return [
    "# made by marcoboot for this node",
    "arm_64bit=1",
    "kernel=kernel8.img",
    "initramfs initrd.img followkernel",
    "enable_uart=1",
    ...(firmware === "raspberry-pi-5" ? ["os_check=0"] : []),
    "",
  ].join("\n");
}

/** Names of the firmware files that are there; for the start-up check and the log. */
export function listFirmwareFiles(loadersDirectory: string): readonly string[] {
  const directory = join(loadersDirectory, "raspberry-pi");
  try {
    return readdirSync(directory)
      .filter((name) => isFirmwareName(name) && fileVersion(join(directory, name)))
      .sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
