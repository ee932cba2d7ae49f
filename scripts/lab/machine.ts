/**
 * One QEMU process: a node with its power on. It ends by a power cut (we kill
 * it), by the guest's ACPI power-off, or, where resets end QEMU, by a reset.
 * QMP tells which; the exit status alone does not.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { type Cleanup, endProcess } from "./cleanup.ts";
import { inNamespace } from "./command.ts";
import type { Accelerator } from "./kvm.ts";
import { linesOf } from "./lines.ts";
import { type Guest, type LoadedKernel, qemuCommand } from "./qemu.ts";
import type { SerialLog } from "./serial-log.ts";

export interface MachineExit {
  readonly cause: "power-cut" | "guest-shutdown" | "guest-reset" | "crashed";
  /** Exit status of QEMU; null when a signal ended it. */
  readonly status: number | null;
  readonly at: Date;
}

export interface Machine {
  readonly exited: Promise<MachineExit>;
  /** Like pulling the plug. Resolves when QEMU is gone. */
  cutPower(): Promise<MachineExit>;
}

export interface MachineOptions {
  readonly guest: Guest;
  readonly accelerator: Accelerator;
  /** Namespace with the guest's tap. */
  readonly namespace: string;
  /** For the QMP socket; its path must stay short (107 octets). */
  readonly directory: string;
  readonly loaded?: LoadedKernel;
  readonly serial: SerialLog;
  readonly cleanup: Cleanup;
}

export async function startMachine(options: MachineOptions): Promise<Machine> {
  const { guest, serial, cleanup } = options;
  const socket = join(options.directory, `${guest.name}.qmp`);
  let reason: string | undefined;
  const monitor = await listenForQmp(socket, (why) => {
    reason = why;
  });
  const [program, args] = qemuCommand(guest, options.accelerator, socket, options.loaded);
  const [command, fullArgs] = inNamespace(options.namespace, program, args);
  const child = spawn(command, fullArgs, { stdio: ["ignore", "pipe", "pipe"] });
  const forget = cleanup.add(`QEMU of ${guest.name}`, () => endProcess(child.pid));
  child.stdout.on("data", (chunk: Buffer) => serial.write(chunk));
  child.stderr.on("data", (chunk: Buffer) => serial.note(`qemu: ${chunk.toString().trim()}`));

  let cut = false;
  const exited = ending(child).then((status): MachineExit => {
    forget();
    monitor.close();
    rmSync(socket, { force: true });
    const cause = cut ? "power-cut" : causeOf(reason);
    serial.note(`QEMU ended: ${cause}`);
    return { cause, status, at: new Date() };
  });
  return {
    exited,
    cutPower() {
      cut = true;
      endProcess(child.pid);
      return exited;
    },
  };
}

function causeOf(reason: string | undefined): MachineExit["cause"] {
  return reason === "guest-shutdown" || reason === "guest-reset" ? reason : "crashed";
}

function ending(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => {
    child.on("error", () => resolve(null));
    child.on("close", (status) => resolve(status));
  });
}

/** Answers QEMU's call and hears its SHUTDOWN event: `guest-shutdown` is ACPI, asked by the guest itself. */
function listenForQmp(path: string, onShutdown: (reason: string) => void): Promise<Server> {
  rmSync(path, { force: true });
  const server = createServer((connection) => {
    connection.write('{"execute":"qmp_capabilities"}\n');
    linesOf(connection, (line) => {
      const message = JSON.parse(line) as { event?: string; data?: { reason?: string } };
      if (message.event === "SHUTDOWN") onShutdown(message.data?.reason ?? "unknown");
    });
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => resolve(server));
  });
}
