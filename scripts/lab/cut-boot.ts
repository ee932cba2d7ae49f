/** Boots a disk that a power cut has left, on a machine without a network, and looks at what it does. */

import { spawn } from "node:child_process";
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { type Cleanup, endProcess } from "./cleanup.ts";
import { tethered } from "./command.ts";
import type { CutPoint } from "./cut-points.ts";
import type { Accelerator } from "./kvm.ts";
import { ReplayedDisk, sectorOctets, type WriteLog } from "./write-log.ts";

export interface Seen {
  readonly does: "starts a system" | "finds nothing to boot" | "says neither";
  /** UUID of the root that its kernel was told. */
  readonly root?: string;
}

const patienceMs = 6 * 60_000;

/** From power-on until it asks for a login or gives up; then its power is cut. */
export async function bootDisk(
  path: string,
  accelerator: Accelerator,
  cleanup: Cleanup,
): Promise<Seen> {
  const [command, args] = tethered("qemu-system-x86_64", [
    ...["-M", "pc", "-accel", accelerator, "-m", "256", "-nodefaults", "-display", "none"],
    ...["-net", "none", "-chardev", "stdio,id=console,mux=on,signal=off"],
    // SeaBIOS says on its debug port what it finds to boot.
    ...["-serial", "chardev:console", "-device", "isa-debugcon,iobase=0x402,chardev=console"],
    ...["-drive", `file=${path},format=raw,if=virtio,cache=unsafe`],
  ]);
  const machine = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  const forget = cleanup.add("QEMU of a cut disk", () => endProcess(machine.pid));
  try {
    return await new Promise<Seen>((resolve) => {
      let root: string | undefined;
      const end = (does: Seen["does"]) => {
        clearTimeout(late);
        resolve({ does, ...(root !== undefined && { root }) });
      };
      const late = setTimeout(() => end("says neither"), patienceMs);
      let said = "";
      const look = (part: Buffer) => {
        said = (said + part.toString("latin1")).slice(-8192);
        root ??= /command line: .*\broot=UUID=([0-9a-f-]{36})/i.exec(said)?.[1];
        if (said.includes("No bootable device")) end("finds nothing to boot");
        if (/ login: /.test(said)) end("starts a system");
      };
      machine.stdout.on("data", look);
      machine.stderr.on("data", look);
      machine.once("close", () => end("says neither"));
    });
  } finally {
    endProcess(machine.pid);
    forget();
  }
}

/** Writes the disk of that moment to a file. */
export function writeDisk(
  log: WriteLog,
  { after, also }: CutPoint,
  sectors: number,
  path: string,
): void {
  const disk = new ReplayedDisk(log, sectors);
  for (let index = 0; index < after; index++) disk.apply(index);
  for (const index of also) disk.apply(index);
  const file = openSync(path, "w");
  try {
    ftruncateSync(file, sectors * sectorOctets);
    for (const [sector, content] of disk.written()) {
      writeSync(file, content, 0, sectorOctets, sector * sectorOctets);
    }
  } finally {
    closeSync(file);
  }
}
