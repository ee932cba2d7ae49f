/** What this machine is: DMI or device tree, processors, memory, disks, interfaces. */

import { readdirSync, realpathSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import type { Disk, Hardware } from "#protocol/node.ts";
import { readText } from "./settings.ts";

/** Kernel names that are no disks of the machine. */
const notDisks = /^(loop|ram|zram|dm-|md|sr|fd|nbd|mtdblock)|^mmcblk\d+(boot|rpmb)/;

/**
 * @param sys - where sysfs is mounted; tests pass a directory
 * @param diskFile - a file that plays the only disk (simulated nodes)
 */
export function readHardware(sys = "/sys", diskFile?: string): Hardware {
  const memory = /^MemTotal:\s+(\d+)/m.exec(readText("/proc/meminfo") ?? "");
  const serial =
    firstText([
      `${sys}/class/dmi/id/product_serial`,
      `${sys}/firmware/devicetree/base/serial-number`,
    ]) ?? undefined;
  const uuid = firstText([`${sys}/class/dmi/id/product_uuid`])?.toLowerCase();
  return {
    model: readModel(sys),
    ...(serial === undefined ? {} : { serial }),
    ...(uuid === undefined ? {} : { uuid }),
    cpus: availableParallelism(),
    memoryMiB: Math.round(Number(memory?.[1] ?? 0) / 1024),
    disks: diskFile === undefined ? readDisks(sys) : [fileAsDisk(diskFile)],
    interfaces: readInterfaces(sys),
  };
}

/** MiB of MemTotal minus MemAvailable. */
export function usedMemoryMiB(meminfo = readText("/proc/meminfo") ?? ""): number {
  const kib = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(meminfo)?.[1] ?? 0);
  return Math.round((kib("MemTotal") - kib("MemAvailable")) / 1024);
}

function readModel(sys: string): string {
  const tree = firstText([`${sys}/firmware/devicetree/base/model`]);
  const vendor = firstText([`${sys}/class/dmi/id/sys_vendor`]);
  const product = firstText([`${sys}/class/dmi/id/product_name`]);
  const dmi = [vendor, product].filter((part) => part !== undefined).join(" ");
  return tree ?? (dmi === "" ? "unknown" : dmi);
}

/** Disks of the machine by kernel name, partitions and empty drives left out. */
export function readDisks(sys = "/sys"): readonly Disk[] {
  return names(`${sys}/block`)
    .filter((name) => !notDisks.test(name))
    .map((name) => readDisk(sys, name))
    .filter((disk) => disk.sizeBytes > 0);
}

function readDisk(sys: string, name: string): Disk {
  const at = `${sys}/block/${name}`;
  const model = firstText([`${at}/device/model`, `${at}/device/name`]);
  const serial = firstText([`${at}/serial`, `${at}/device/serial`]) ?? unitSerial(at);
  return {
    name,
    // sysfs counts in units of 512 octets, whatever the disk's sectors are
    sizeBytes: Number(readText(`${at}/size`) ?? 0) * 512,
    ...(model === undefined ? {} : { model }),
    ...(serial === undefined ? {} : { serial }),
    removable: readText(`${at}/removable`)?.trim() === "1" || isOnUsb(at),
  };
}

/** SCSI's vital product data page 0x80: four octets of header, then the serial number. */
function unitSerial(at: string): string | undefined {
  const page = readText(`${at}/device/vpd_pg80`);
  return page === undefined ? undefined : clean(page.slice(4));
}

/** A disk on USB may be pulled: it is written only when it was named. */
function isOnUsb(at: string): boolean {
  try {
    return realpathSync(at).includes("/usb");
  } catch {
    return false;
  }
}

function fileAsDisk(path: string): Disk {
  return { name: "disk-file", sizeBytes: statSync(path).size, model: "file", removable: false };
}

function readInterfaces(sys: string): Hardware["interfaces"] {
  return names(`${sys}/class/net`)
    .map((name) => ({ name, mac: readText(`${sys}/class/net/${name}/address`)?.trim() ?? "" }))
    .filter(
      (one) => /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(one.mac) && one.mac !== "00:00:00:00:00:00",
    );
}

/** Octets per logical sector of a disk; 512 when the kernel does not say. */
export function sectorBytes(name: string, sys = "/sys"): number {
  return Number(readText(`${sys}/block/${name}/queue/logical_block_size`) ?? 512);
}

function firstText(paths: readonly string[]): string | undefined {
  for (const path of paths) {
    const text = clean(readText(path) ?? "");
    if (text !== undefined) return text;
  }
  return undefined;
}

/** Text without NUL, control characters and white space around it; undefined when nothing is left. */
function clean(text: string): string | undefined {
  const kept = text.replaceAll(/\p{Cc}/gu, "").trim();
  return kept === "" ? undefined : kept.slice(0, 128);
}

function names(directory: string): readonly string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}
