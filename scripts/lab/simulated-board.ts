/**
 * A simulated board: power comes, its firmware asks the network for a boot, and
 * what that gave runs as processes in the board's own namespace (board-init.sh),
 * with a file as its disk. Power goes, and they are gone.
 */

import { spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { headOctets, parsePartitionTable } from "../../netinst/partition-table.ts";
import { layoutFile, parseLayout } from "../../netinst/steps/disk-layout.ts";
import { simulatedExit } from "../../netinst/steps/power.ts";
import { readChoice, writeChoice } from "../../netinst/steps/slot-switch.ts";
import { boardModels, type ModelName } from "./board-models.ts";
import { type Cleanup, endProcess } from "./cleanup.ts";
import { run } from "./command.ts";
import type { FirmwareHost } from "./firmware-host.ts";
import type { LabNetwork } from "./namespaces.ts";
import { PowerSwitch } from "./power-strip.ts";

export interface BoardSettings {
  /** `a1`; at most 12 characters. */
  readonly name: string;
  readonly model: ModelName;
  readonly mac: string;
  /** Number in its rack, which its serial is made from. */
  readonly index: number;
  /** Octets; default 64 MiB, of which none takes room until it is written. */
  readonly diskOctets?: number;
  /** From power-on to its first word, asked anew each time; Infinity: it never speaks. */
  readonly startDelayMs: () => number;
}

export interface BoardContext {
  readonly network: LabNetwork;
  readonly firmware: FirmwareHost;
  /** Disks and logs go there; keep its path short. */
  readonly directory: string;
  readonly cleanup: Cleanup;
  readonly onMoment?: (moment: BoardMoment) => void;
}

/** What happened to a board, as nobody but the laboratory can know. */
export interface BoardMoment {
  readonly board: SimulatedBoard;
  readonly at: number;
  readonly what:
    | "power-on"
    | "power-off"
    | "netinst"
    | "installed-system"
    | "nothing-boots"
    /** The server ordered it, of the system that ran. */
    | "reset of netinst"
    | "reset of the installed system"
    | "shutdown";
}

const usualDiskOctets = 64 * 1024 ** 2;
const agentProgram = join(import.meta.dirname, "..", "..", "netinst", "main.ts");
/** Between two rounds of a firmware that goes on trying. */
const roundPauseMs = 1000;
/** Servers and firmware go first: a real board has a processor of its own for its agent. */
const agentNiceness = 5;

/** As netinst/initramfs/run has it for small machines; and what one agent has compiled the others read. */
function agentEnvironment(directory: string): Readonly<Record<string, string>> {
  return {
    NODE_OPTIONS: "--max-semi-space-size=1 --max-old-space-size=48",
    NODE_COMPILE_CACHE: join(directory, "compiled"),
    MALLOC_ARENA_MAX: "1",
    UV_THREADPOOL_SIZE: "2",
  };
}

/**
 * Before the first board: looks for what they need of the machine, and has the agent's source
 * compiled. What is compiled is written when a process ends by itself, which an agent seldom
 * does; 48 of them took 1.8 GB without this, 1.1 GB with it.
 *
 * @throws Error with what is missing
 */
export function prepareBoards(directory: string): void {
  if (!/^udhcpc$/m.test(String(spawnSync("busybox", ["--list"]).stdout))) {
    throw new Error("no busybox with udhcpc: apt-get install busybox-static");
  }
  const env = { ...process.env, ...agentEnvironment(directory) };
  const { stderr } = spawnSync(process.execPath, [agentProgram, "--role", "none"], { env });
  if (!/--role must be/.test(String(stderr)))
    throw new Error(`the agent does not start: ${stderr}`);
}

export class SimulatedBoard {
  readonly settings: BoardSettings;
  readonly disk: string;
  readonly log: string;
  readonly #context: BoardContext;
  readonly #namespace: string;
  readonly #power: PowerSwitch;

  constructor(settings: BoardSettings, context: BoardContext) {
    this.settings = settings;
    this.#context = context;
    const directory = join(context.directory, settings.name);
    mkdirSync(directory, { recursive: true });
    this.disk = join(directory, "disk");
    this.log = join(directory, "log");
    writeFileSync(this.disk, "");
    truncateSync(this.disk, settings.diskOctets ?? usualDiskOctets);
    this.#namespace = context.network.addHost(settings.name, settings.mac);
    run("ip", ["-n", this.#namespace, "link", "set", "eth0", "up"]);
    this.#power = new PowerSwitch((signal) => this.#live(signal));
  }

  get mac(): string {
    return this.settings.mac;
  }

  get isOn(): boolean {
    return this.#power.state === "on";
  }

  powerOn(): void {
    if (this.isOn) return;
    this.#tell("power-on");
    this.#power.switchOn();
  }

  async powerOff(): Promise<void> {
    if (this.isOn) this.#tell("power-off");
    await this.#power.switchOff();
  }

  /** Kills the agent, if one runs, as an error in it would; what runs it starts it again. */
  killAgent(): boolean {
    const inside = run("ip", ["netns", "pids", this.#namespace]).split(/\s+/).filter(Boolean);
    const agent = inside.find((pid) => wordsOf(pid).includes(agentProgram));
    if (agent !== undefined) endProcess(Number(agent));
    return agent !== undefined;
  }

  #tell(what: BoardMoment["what"]): void {
    this.#context.onMoment?.({ board: this, at: Date.now(), what });
  }

  /** From power-on to power-off; comes back here after each reset. */
  async #live(signal: AbortSignal): Promise<void> {
    const delay = this.settings.startDelayMs();
    await pause(Math.min(delay, 2 ** 31 - 1), signal);
    while (!signal.aborted) {
      const ended = await this.#boot(signal);
      if (signal.aborted || ended === "off") return;
      if (ended === "dark") await pause(2 ** 31 - 1, signal);
      else if (ended === "again") await pause(roundPauseMs, signal);
    }
  }

  /** Network first, disk second, always: where it boots from is the server's doing. */
  async #boot(signal: AbortSignal): Promise<"reset" | "off" | "again" | "dark"> {
    const { model, mac, index } = this.settings;
    const loaded = await this.#context.firmware.boot(
      { model, mac, index, namespace: this.#namespace },
      signal,
    );
    if (signal.aborted) return "off";
    if (loaded.outcome === "kernel") {
      this.#tell("netinst");
      return await this.#run(
        "netinst",
        { BOARD_CMDLINE: loaded.commandLine, BOARD_SITE: loaded.site },
        signal,
      );
    }
    const root =
      loaded.outcome === "root"
        ? rootByUuid(this.disk, loaded.partitionUuid)
        : rootToBoot(this.disk);
    if (root !== undefined) {
      this.#tell("installed-system");
      return await this.#run("installed", { BOARD_ROOT: root }, signal);
    }
    this.#tell("nothing-boots");
    return boardModels[model].whenNothingBoots;
  }

  async #run(
    system: "netinst" | "installed",
    given: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<"reset" | "off"> {
    const { says, architecture, serial } = boardModels[this.settings.model];
    const log = openSync(this.log, "a");
    const child = spawn(
      "ip",
      [
        ...["netns", "exec", this.#namespace, "setpriv", "--pdeathsig", "KILL"],
        ...["unshare", "--uts", join(import.meta.dirname, "board-init.sh")],
      ],
      {
        stdio: ["ignore", log, log],
        detached: true, // a group of its own: a power cut takes all of it
        env: {
          PATH: process.env["PATH"],
          BOARD_SYSTEM: system,
          BOARD_DISK: this.disk,
          BOARD_ROOT: `${this.disk}.root`,
          BOARD_DIRECTORY: join(this.#context.directory, this.settings.name),
          BOARD_MODEL: says,
          BOARD_ARCHITECTURE: architecture,
          BOARD_SERIAL: serial(this.settings),
          BOARD_MAC: this.settings.mac,
          BOARD_BOOT_ID: randomUUID(),
          BOARD_UDHCPC: join(import.meta.dirname, "board-udhcpc.sh"),
          BOARD_NODE: process.execPath,
          BOARD_AGENT: agentProgram,
          BOARD_NICE: String(agentNiceness),
          ...agentEnvironment(this.#context.directory),
          ...given,
        },
      },
    );
    closeSync(log);
    const cut = () => void (child.pid !== undefined && endProcess(-child.pid));
    const forget = this.#context.cleanup.add(`board ${this.settings.name}`, cut);
    signal.addEventListener("abort", cut, { once: true });
    if (signal.aborted) cut();
    const [status] = (await once(child, "exit")) as [number | null];
    signal.removeEventListener("abort", cut);
    forget();
    if (status === simulatedExit.shutdown) {
      this.#tell("shutdown");
      return "off";
    }
    if (status === simulatedExit.reboot) {
      const what = system === "netinst" ? "netinst" : "the installed system";
      this.#tell(`reset of ${what}`);
    }
    return "reset";
  }
}

/**
 * What a boot loader would start: the directory that plays a root. The last thing an install writes
 * is the boot sector's signature; of two root slots the one to be tried is tried once.
 */
function rootToBoot(disk: string): string | undefined {
  const head = headOf(disk);
  if (head.readUInt16LE(510) !== 0xaa55) return undefined;
  return system(hasSlots(`${disk}.boot`, head) ? slotToBoot(disk) : `${disk}.root`);
}

/** What a kernel that came by network is told to start: of a Raspberry Pi with two slots. */
function rootByUuid(disk: string, uuid: string): string | undefined {
  const partitions = parsePartitionTable(headOf(disk))?.partitions ?? [];
  const at = partitions.findIndex((one) => one.uuid === uuid);
  return at < 1 ? undefined : system(`${disk}.root-${at === 1 ? "a" : "b"}`);
}

function system(root: string): string | undefined {
  return existsSync(join(root, "etc/hostname")) ? root : undefined;
}

function headOf(disk: string): Buffer {
  const head = Buffer.alloc(headOctets);
  const file = openSync(disk, "r");
  readSync(file, head, 0, head.length, 0);
  closeSync(file);
  return head;
}

/** Whether the boot partition is of this table, not left by an install before. */
function hasSlots(boot: string, head: Buffer): boolean {
  const path = join(boot, layoutFile);
  if (!existsSync(path)) return false;
  try {
    parseLayout(readFileSync(path, "utf8"), head);
    return true;
  } catch {
    return false;
  }
}

/** As GRUB does by its configuration, and a Raspberry Pi by config.txt (netinst/steps/slot-switch.ts). */
function slotToBoot(disk: string): string {
  const { active, tried } = readChoice(`${disk}.boot`);
  if (tried) writeChoice(`${disk}.boot`, { active });
  return `${disk}.root-${tried ?? active}`;
}

function wordsOf(pid: string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return []; // it has just ended
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined); // its power was cut
}
