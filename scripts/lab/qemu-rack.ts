/**
 * The rack's power strip: outlets that start and kill QEMU.
 *
 * A guest that powers itself off by ACPI leaves its outlet `off` too; `exits`
 * tells the two apart.
 */

import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { loadByRom, type RaspberryPiRom } from "./boot-rom.ts";
import { type Cleanup, endProcess } from "./cleanup.ts";
import type { Accelerator } from "./kvm.ts";
import { type Machine, type MachineExit, startMachine } from "./machine.ts";
import type { LabNetwork } from "./namespaces.ts";
import { outletNamed, PowerSwitch, type StripOutlet, startPowerStrip } from "./power-strip.ts";
import type { Guest, LoadedKernel } from "./qemu.ts";
import { openSerialLog, type SerialLog } from "./serial-log.ts";

export interface QemuRack {
  /** Path of the power socket. */
  readonly socket: string;
  state(outlet: string): "on" | "off";
  /** How the outlet's QEMU processes ended since the last {@link forgetExits}, oldest first. */
  exits(outlet: string): readonly MachineExit[];
  /** As mains fail: whoever switches outlets is not told. Resolves when the node is dark. */
  cutPower(outlet: string): Promise<void>;
  /** As mains come back. */
  givePower(outlet: string): void;
  /** Learning cuts the power of every node, and means it. */
  forgetExits(): void;
  /** Last lines of the serial console. */
  tail(outlet: string, lines: number): readonly string[];
  /** True once a line of the console since the last power-on or reset matched. */
  hasSaid(outlet: string, pattern: RegExp): boolean;
  close(): Promise<void>;
}

export interface QemuRackOptions {
  readonly guests: readonly Guest[];
  readonly network: LabNetwork;
  readonly accelerator: Accelerator;
  /** Sockets, serial logs (`<outlet>.serial.log`) and files a Pi's ROM fetched. Keep its path short. */
  readonly directory: string;
  readonly cleanup: Cleanup;
  readonly onLine?: (outlet: string, line: string) => void;
}

/** Last words of a Raspberry Pi that was told to power off: it has no way to switch itself off. */
const piIsDown = /reboot: (?:Power down|System halted)/;

export async function startQemuRack(options: QemuRackOptions): Promise<QemuRack> {
  mkdirSync(options.directory, { recursive: true });
  const outlets = new Map(
    options.guests.map((guest) => [guest.name, new PoweredNode(guest, options)]),
  );
  const nodeAt = (outlet: string) => outletNamed(outlets, outlet);
  const socket = join(options.directory, "power.sock");
  const strip = await startPowerStrip(socket, outlets);
  return {
    socket,
    state: (outlet) => nodeAt(outlet).state,
    exits: (outlet) => nodeAt(outlet).exits,
    cutPower: (outlet) => nodeAt(outlet).switchOff(),
    givePower: (outlet) => nodeAt(outlet).switchOn(),
    forgetExits() {
      for (const node of outlets.values()) node.exits.length = 0;
    },
    tail: (outlet, lines) => nodeAt(outlet).serial.tail(lines),
    hasSaid: (outlet, pattern) => nodeAt(outlet).hasSaid(pattern),
    async close() {
      strip.close();
      await Promise.all([...outlets.values()].map((node) => node.close()));
    },
  };
}

/** An outlet and the node behind it. */
class PoweredNode implements StripOutlet {
  readonly exits: MachineExit[] = [];
  readonly serial: SerialLog;
  readonly #guest: Guest;
  readonly #options: QemuRackOptions;
  readonly #rom: RaspberryPiRom | undefined;
  readonly #power: PowerSwitch;
  #said: string[] = [];

  constructor(guest: Guest, options: QemuRackOptions) {
    this.#guest = guest;
    this.#options = options;
    this.#power = new PowerSwitch((signal) =>
      this.#run(signal).catch((error: unknown) => this.serial.note(`laboratory: ${String(error)}`)),
    );
    this.serial = openSerialLog(join(options.directory, `${guest.name}.serial.log`), (line) => {
      this.#said.push(line);
      if (guest.firmware === "raspberry-pi-3" && piIsDown.test(line)) this.#piPoweredOff?.();
      options.onLine?.(guest.name, line);
    });
    options.network.addTap(guest.name);
    if (guest.firmware === "raspberry-pi-3") {
      const namespace = options.network.addHost(`${guest.name}rom`, guest.mac);
      const directory = join(options.directory, `${guest.name}.rom`);
      this.#rom = { namespace, directory, guest, endOnExit: (pid) => this.#register(pid) };
    }
  }

  #piPoweredOff: (() => void) | undefined;

  get state(): "on" | "off" {
    return this.#power.state;
  }

  hasSaid(pattern: RegExp): boolean {
    return this.#said.some((line) => pattern.test(line));
  }

  switchOn(): void {
    this.#power.switchOn();
  }

  switchOff(): Promise<void> {
    return this.#power.switchOff();
  }

  async close(): Promise<void> {
    await this.switchOff();
    this.serial.close();
  }

  #register(pid: number | undefined): () => void {
    return this.#options.cleanup.add(`boot ROM of ${this.#guest.name}`, () => endProcess(pid));
  }

  /** From power on to power off; a Raspberry Pi's resets come back here, so that its ROM runs again. */
  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#said = [];
      this.serial.note("power on or reset");
      const loaded = this.#rom && (await this.#load(this.#rom, signal));
      if (signal.aborted) return;
      const { accelerator, directory, network, cleanup } = this.#options;
      const machine = await startMachine({
        ...{ guest: this.#guest, accelerator, directory, cleanup, serial: this.serial },
        namespace: network.switchNamespace,
        ...(loaded && { loaded }),
      });
      const exit = await this.#untilItEnds(machine, signal);
      this.exits.push(exit);
      if (exit.cause !== "guest-reset") return;
    }
  }

  /** A board with nothing to boot stays powered and dark until its outlet is switched. */
  async #load(rom: RaspberryPiRom, signal: AbortSignal): Promise<LoadedKernel | undefined> {
    try {
      return await loadByRom(rom, this.serial, signal);
    } catch (error) {
      if (!signal.aborted) this.serial.note(`boot ROM: ${String(error)}`);
      if (!signal.aborted) await once(signal, "abort");
      return undefined;
    }
  }

  async #untilItEnds(machine: Machine, signal: AbortSignal): Promise<MachineExit> {
    const cut = () => void machine.cutPower();
    let poweredOff = false;
    this.#piPoweredOff = () => {
      poweredOff = true;
      cut();
    };
    signal.addEventListener("abort", cut, { once: true });
    if (signal.aborted) cut();
    const exit = await machine.exited;
    signal.removeEventListener("abort", cut);
    this.#piPoweredOff = undefined;
    return poweredOff ? { ...exit, cause: "guest-shutdown" } : exit;
  }
}
