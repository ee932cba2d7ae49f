/** What this machine is: DMI or device tree, processors, memory, disks, interfaces, firmware, sensors. */

import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename } from "node:path";
import type { Disk, FirmwareVersion, Hardware, NetworkInterface } from "#protocol/node.ts";
import { readContents } from "./disk-contents.ts";
import { readHealth } from "./disk-health.ts";
import { readText } from "./settings.ts";
import { memoryModulesOf } from "./smbios.ts";
import { within } from "./wait.ts";

/** Kernel names that are no disks of the machine. */
const notDisks = /^(loop|ram|zram|dm-|md|sr|fd|nbd|mtdblock)|^mmcblk\d+(boot|rpmb)/;

/** A disk that sleeps answers within some 10 s; one that does not answer keeps nobody waiting longer. */
const diskPatienceMs = 15_000;

/** Everything, with what is on the disks and how they are. */
export async function takeInventory(sys = "/sys", diskFile?: string): Promise<Hardware> {
  const hardware = readHardware(sys, diskFile);
  const disks = hardware.disks.map(async (disk): Promise<Disk> => {
    const [contents, health] = await Promise.all([
      within(diskPatienceMs, readContents(disk, diskFile)),
      diskFile === undefined ? within(diskPatienceMs, readHealth(disk, sys)) : undefined,
    ]);
    return { ...disk, ...(health && { health }), ...(contents && { contents }) };
  });
  return { ...hardware, disks: await Promise.all(disks) };
}

/**
 * What the kernel knows without asking a device.
 *
 * @param sys - where sysfs is mounted; tests pass a directory
 * @param diskFile - a file that plays the only disk (simulated nodes)
 * @param proc - where procfs is mounted
 */
export function readHardware(sys = "/sys", diskFile?: string, proc = "/proc"): Hardware {
  const memory = /^MemTotal:\s+(\d+)/m.exec(readText(`${proc}/meminfo`) ?? "");
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
    ...some("cpuModel", cpuModelOf(readText(`${proc}/cpuinfo`) ?? "")),
    ...some("cores", countCores(sys)),
    ...some("memoryModules", readMemoryModules(sys)),
    ...some("firmware", readFirmware(sys)),
    ...some("temperatureCelsius", hottest(sys)),
  };
}

/** A member for what was found; none for undefined and for an empty list. */
function some<Name extends keyof Hardware>(
  name: Name,
  value: Hardware[Name] | undefined,
): Partial<Pick<Hardware, Name>> {
  if (value === undefined || (Array.isArray(value) && value.length === 0)) return {};
  return { [name]: value } as Partial<Pick<Hardware, Name>>;
}

/** ARM's numbers of processors (MIDR: implementer 0x41): /proc/cpuinfo there has no name. */
const armParts: Readonly<Record<string, string>> = {
  "0xd03": "Cortex-A53",
  "0xd04": "Cortex-A35",
  "0xd05": "Cortex-A55",
  "0xd07": "Cortex-A57",
  "0xd08": "Cortex-A72",
  "0xd09": "Cortex-A73",
  "0xd0a": "Cortex-A75",
  "0xd0b": "Cortex-A76",
  "0xd0c": "Neoverse-N1",
  "0xd40": "Neoverse-V1",
  "0xd41": "Cortex-A78",
  "0xd49": "Neoverse-N2",
};

/** @param cpuinfo - text of /proc/cpuinfo */
export function cpuModelOf(cpuinfo: string): string | undefined {
  const member = (name: string) =>
    new RegExp(`^${name}\\s*: *(.+)$`, "m").exec(cpuinfo)?.[1]?.trim();
  const name = member("model name");
  if (name !== undefined) return clean(name);
  const [implementer, part] = [member("CPU implementer"), member("CPU part")];
  if (implementer === undefined || part === undefined) return undefined;
  const known = implementer === "0x41" ? armParts[part] : undefined;
  return known ?? `ARM ${implementer}/${part}`;
}

/** Pairs of package and core: threads of one core share both. */
function countCores(sys: string): number | undefined {
  const topologies = names(`${sys}/devices/system/cpu`)
    .filter((name) => /^cpu\d+$/.test(name))
    .flatMap((name) => {
      const at = `${sys}/devices/system/cpu/${name}/topology`;
      const core = readText(`${at}/core_id`)?.trim();
      return core === undefined ? [] : `${readText(`${at}/physical_package_id`)?.trim()}/${core}`;
    });
  return topologies.length === 0 ? undefined : new Set(topologies).size;
}

function readMemoryModules(sys: string): Hardware["memoryModules"] {
  try {
    return memoryModulesOf(readFileSync(`${sys}/firmware/dmi/tables/DMI`));
  } catch {
    return undefined; // a board without SMBIOS, or not root
  }
}

function readFirmware(sys: string): readonly FirmwareVersion[] {
  return [...readBios(sys), ...readPiBootloader(sys), ...readDiskFirmware(sys)];
}

function readBios(sys: string): readonly FirmwareVersion[] {
  const dmi = (name: string) => firstText([`${sys}/class/dmi/id/${name}`]);
  const version = [dmi("bios_vendor"), dmi("bios_version")].filter((part) => part !== undefined);
  if (version.length === 0) return [];
  const date = dmi("bios_date");
  return [{ name: "BIOS", version: version.join(" "), ...(date !== undefined && { date }) }];
}

/** The EEPROM of a Raspberry Pi 4 and later leaves its version in the device tree. */
function readPiBootloader(sys: string): readonly FirmwareVersion[] {
  const at = `${sys}/firmware/devicetree/base/chosen/bootloader`;
  const version = firstText([`${at}/version`]);
  if (version === undefined) return [];
  const seconds = bigEndian(`${at}/build-timestamp`);
  const date = seconds === undefined ? undefined : new Date(seconds * 1000).toISOString();
  return [{ name: "bootloader", version, ...(date && { date: date.slice(0, 10) }) }];
}

function readDiskFirmware(sys: string): readonly FirmwareVersion[] {
  return diskNames(sys).flatMap((name) => {
    const at = `${sys}/block/${name}/device`;
    const version = firstText([`${at}/firmware_rev`, `${at}/rev`, `${at}/fwrev`]);
    return version === undefined ? [] : [{ name: `disk ${name}`, version }];
  });
}

/** A cell of the device tree; undefined when it is not there. */
function bigEndian(path: string): number | undefined {
  try {
    return readFileSync(path).readUInt32BE(0);
  } catch {
    return undefined;
  }
}

/** Of all sensors, in whole degrees; nonsense of broken ones is left out. */
function hottest(sys: string): number | undefined {
  const zones = names(`${sys}/class/thermal`).map((name) => `${sys}/class/thermal/${name}/temp`);
  const chips = names(`${sys}/class/hwmon`).flatMap((chip) =>
    names(`${sys}/class/hwmon/${chip}`)
      .filter((name) => /^temp\d+_input$/.test(name))
      .map((name) => `${sys}/class/hwmon/${chip}/${name}`),
  );
  const degrees = [...zones, ...chips]
    .map((path) => Number(readText(path) ?? Number.NaN) / 1000)
    .filter((value) => value > -40 && value < 150);
  return degrees.length === 0 ? undefined : Math.round(Math.max(...degrees));
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
  return diskNames(sys)
    .map((name) => readDisk(sys, name))
    .filter((disk) => disk.sizeBytes > 0);
}

function diskNames(sys: string): readonly string[] {
  return names(`${sys}/block`).filter((name) => !notDisks.test(name));
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
    ...(readText(`${at}/queue/rotational`)?.trim() === "1" && { rotational: true }),
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

/** Those with a device behind them; in a namespace, where none has one, all that have an address. */
function readInterfaces(sys: string): readonly NetworkInterface[] {
  const all = names(`${sys}/class/net`)
    .map((name) => readInterface(sys, name))
    .filter(
      (one) => /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(one.mac) && one.mac !== "00:00:00:00:00:00",
    );
  const real = all.filter(({ name }) => existsSync(`${sys}/class/net/${name}/device`));
  return real.length > 0 ? real : all;
}

function readInterface(sys: string, name: string): NetworkInterface {
  const at = `${sys}/class/net/${name}`;
  const speedMbps = Number(readText(`${at}/speed`) ?? -1); // -1 or an error without a carrier
  return {
    name,
    // a bond gives all its members one address: their own is here then
    mac: firstText([`${at}/bonding_slave/perm_hwaddr`, `${at}/address`]) ?? "",
    ...driverOf(`${at}/device/driver`),
    ...(speedMbps > 0 && { speedMbps }),
  };
}

function driverOf(link: string): { readonly driver?: string } {
  try {
    return { driver: basename(realpathSync(link)) };
  } catch {
    return {};
  }
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
