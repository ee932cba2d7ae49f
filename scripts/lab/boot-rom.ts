/**
 * Runs the Raspberry Pi 3 ROM simulator (boot-rom-pi3.ts) in its own namespace
 * and turns what it fetched into what QEMU's raspi3b is started with. Where the
 * network has nothing for this board, the SD card's FAT partition is read instead.
 */

import { spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import { readFirmwareConfig } from "../../server/sim/firmware/raspberry-pi.ts";
import { inNamespace, run } from "./command.ts";
import type { Guest, LoadedKernel } from "./qemu.ts";
import type { SerialLog } from "./serial-log.ts";

export interface RaspberryPiRom {
  /** Its `eth0` has the board's MAC address; it is up only while the ROM runs. */
  readonly namespace: string;
  /** Where fetched files go; emptied at each run. */
  readonly directory: string;
  readonly guest: Guest;
  /** Has the simulator ended with the laboratory; returns how to take that back. */
  readonly endOnExit: (pid: number | undefined) => () => void;
}

export interface RomResult {
  /** `network`: files are in the directory; `nothing`: offered an address but no files; `silence`: no offer. */
  readonly outcome: "network" | "nothing" | "silence";
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
}

/** @throws Error when neither network nor SD card has anything to boot. */
export async function loadByRom(
  rom: RaspberryPiRom,
  serial: SerialLog,
  signal: AbortSignal,
): Promise<LoadedKernel> {
  rmSync(rom.directory, { recursive: true, force: true });
  mkdirSync(rom.directory, { recursive: true });
  const result = await runSimulator(rom, serial, signal);
  serial.note(`boot ROM: ${result.outcome}, ${result.files.length} files`);
  if (result.outcome !== "network") copyFromCard(rom);
  return loadedFrom(rom.directory);
}

function loadedFrom(directory: string): LoadedKernel {
  const text = readFileSync(join(directory, "config.txt"), "utf8");
  const config = readFirmwareConfig(text, ["all", "pi3"]);
  const system = join(directory, config.prefix);
  const commandLine = readFileSync(join(system, config.commandLine), "utf8").trim();
  const initramfs = config.initramfs && join(system, config.initramfs);
  const deviceTree = [config.deviceTree ?? "", "bcm2710-rpi-3-b.dtb", "bcm2837-rpi-3-b.dtb"]
    .filter(Boolean)
    .map((name) => join(system, name))
    .find((path) => existsSync(path));
  if (deviceTree === undefined) throw new Error(`no device tree for a Raspberry Pi 3 in ${system}`);
  return {
    kernel: join(system, config.kernel ?? "kernel8.img"),
    deviceTree,
    // start.elf puts the console's real name in place of serial0: the mini UART on a Pi 3.
    commandLine: commandLine.replaceAll("console=serial0", "console=ttyS1"),
    ...(initramfs !== undefined && existsSync(initramfs) && { initramfs }),
  };
}

async function runSimulator(
  rom: RaspberryPiRom,
  serial: SerialLog,
  signal: AbortSignal,
): Promise<RomResult> {
  const script = new URL("./boot-rom-pi3.ts", import.meta.url).pathname;
  const [command, args] = inNamespace(rom.namespace, process.execPath, [
    script,
    JSON.stringify({ mac: rom.guest.mac, interface: "eth0", directory: rom.directory }),
  ]);
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  const forget = rom.endOnExit(child.pid);
  const stop = () => void child.kill("SIGKILL");
  signal.addEventListener("abort", stop, { once: true });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => serial.write(chunk));
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", resolve);
    });
    if (signal.aborted) return { outcome: "silence", files: [] };
    if (status !== 0) throw new Error(`the boot ROM simulator ended with ${status}`);
    return JSON.parse(output) as RomResult;
  } finally {
    forget();
    signal.removeEventListener("abort", stop);
  }
}

const fatTypes = new Set([0x01, 0x04, 0x06, 0x0b, 0x0c, 0x0e]);

/**
 * Octet offset of the first FAT partition in an MBR, or undefined.
 *
 * @param sector - the disk's first 512 octets; four entries of 16 from 446, type at 4, first sector at 8.
 */
export function firstFatPartition(sector: Buffer): number | undefined {
  if (sector.readUInt16LE(510) !== 0xaa55) return undefined;
  for (let entry = 446; entry < 510; entry += 16) {
    if (fatTypes.has(sector[entry + 4] ?? 0)) return sector.readUInt32LE(entry + 8) * 512;
  }
  return undefined;
}

function copyFromCard(rom: RaspberryPiRom): void {
  const sector = Buffer.alloc(512);
  const card = openSync(rom.guest.disk, "r");
  try {
    readSync(card, sector, 0, sector.length, 0);
  } finally {
    closeSync(card);
  }
  const offset = firstFatPartition(sector);
  if (offset === undefined)
    throw new Error("nothing on the network and no boot partition on the SD card");
  run("mcopy", ["-s", "-n", "-i", `${rom.guest.disk}@@${offset}`, "::*", rom.directory]);
}
