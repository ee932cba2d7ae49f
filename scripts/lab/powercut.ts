/**
 * `npm run -s lab -- powercut`: a real install on a QEMU machine whose disk writes are
 * logged, and then every disk that a power cut could have left: at each flush, and at
 * random points with any part of what was not flushed yet.
 *
 * A disk that no firmware would boot is installed again when its node boots from the
 * network; one that a firmware would boot must hold the whole new system, octet by
 * octet. Some of the disks, those around the commit among them, are booted for real.
 */

import { spawn } from "node:child_process";
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Job, Task } from "#protocol/job.ts";
import { prepare } from "../demo/prepare.ts";
import { addImages, imageNameFor, learnRack, type Scenario, untilReady } from "../demo/scenario.ts";
import { readArguments } from "../usage.ts";
import { type Cleanup, endProcess } from "./cleanup.ts";
import { tethered } from "./command.ts";
import type { Accelerator } from "./kvm.ts";
import { removeStaleNamespaces } from "./namespaces.ts";
import { wholeNumber } from "./numbers.ts";
import { createRandom, type Random } from "./random.ts";
import { createVirtualRack } from "./virtual-rack.ts";
import { watchWorld } from "./world.ts";
import { mayBoot, openWriteLog, ReplayedDisk, sectorOctets, type WriteLog } from "./write-log.ts";

export type CutOutcome = "old" | "new" | "reinstall" | "halfWritten";

export interface PowercutResult extends Readonly<Record<CutOutcome, number>> {
  readonly points: number;
  /** Of the points: those right after a flush. */
  readonly flushes: number;
  /** Disks that were booted, and did what was expected of them. */
  readonly booted: number;
  readonly bootedOtherwise: number;
}

export interface CutPoint {
  /** Writes before it, all of them on the disk. */
  readonly after: number;
  /** Later writes that reached the disk too, though nothing was flushed since. */
  readonly also: readonly number[];
}

const usage = `
npm run -s lab -- powercut: what a power cut at any moment of an install leaves

  --points 200     random points, besides every flush
  --boots 4        disks that are booted for real: those around the commit, then any
  --seed 1
  --json           the result as a line of JSON

Progress is on standard error. Root and QEMU are needed. Exit code 1 when one disk would boot
half a system, or does not do what was expected of it.
`;

const minute = 60_000;
const diskSectors = (2 * 1024 ** 3) / sectorOctets;

/** @returns the exit code. */
export async function runPowercut(cleanup: Cleanup): Promise<number> {
  const { values } = readArguments(usage, {
    allowPositionals: true,
    options: {
      points: { type: "string", default: "200" },
      boots: { type: "string", default: "4" },
      seed: { type: "string", default: "1" },
      json: { type: "boolean", default: false },
    },
  });
  const random = createRandom(wholeNumber("seed", values.seed, 0));
  const points = wholeNumber("points", values.points, 0, 1_000_000);
  const boots = wholeNumber("boots", values.boots, 0, 1000);
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  const directory = mkdtempSync("/var/tmp/marcoboot-powercut-");
  cleanup.add(directory, () => rmSync(directory, { recursive: true, force: true }));
  const { images, ...prepared } = await prepare(["bios"], say);
  removeStaleNamespaces();
  const log = join(directory, "writes.log");
  const octets = await recordInstall({ directory, log, images, prepared, cleanup, say });
  const opened = openWriteLog(log, octets);
  try {
    const result = await cutAll(opened, {
      points,
      boots,
      random,
      directory,
      cleanup,
      say,
      ...prepared,
    });
    const text = Object.entries(result).map(([name, value]) => `${name.padEnd(16)} ${value}`);
    process.stdout.write(`${values.json ? JSON.stringify(result) : text.join("\n")}\n`);
    return result.halfWritten === 0 && result.bootedOtherwise === 0 ? 0 : 1;
  } finally {
    opened.close();
  }
}

interface Recording {
  readonly directory: string;
  readonly log: string;
  readonly images: Awaited<ReturnType<typeof prepare>>["images"];
  readonly prepared: Omit<Awaited<ReturnType<typeof prepare>>, "images">;
  readonly cleanup: Cleanup;
  readonly say: (line: string) => void;
}

/** Installs one node. @returns how much of the log there was when the agent had committed */
async function recordInstall(recording: Recording): Promise<number> {
  const { directory, log, images, prepared, cleanup, say } = recording;
  const rack = await createVirtualRack({
    ...prepared,
    firmwares: ["bios"],
    directory,
    adminPort: 8000,
    writeLog: log,
    cleanup,
  });
  const world = watchWorld(rack.api);
  const scenario: Scenario = { rack, world, say, atOnce: 1 };
  try {
    await addImages(scenario, images);
    await learnRack(scenario);
    return await installAndMeasure(scenario, log);
  } finally {
    world.close();
    await rack.close();
  }
}

/** Up to the report that ends the agent's work: what the installed system writes afterwards is its own. */
async function installAndMeasure(scenario: Scenario, log: string): Promise<number> {
  const { rack, world, say } = scenario;
  const [node] = rack.nodes;
  if (!node) throw new Error("a rack without nodes");
  const { id } = await untilReady(scenario, node);
  say("installing, every write logged");
  const parameters = { image: imageNameFor("bios"), authorizedKeys: [] };
  const request = { kind: "install", selector: id, parameters };
  const job = await rack.api.send<Job>("POST", "/api/v1/jobs", request);
  const committed = (task: Task) => task.stage === "rebooting" || task.stage === "first-boot";
  return await world.until("commit", 45 * minute, () => {
    const task = [...world.tasks.values()].find(({ jobId }) => jobId === job.id);
    if (task?.state === "failed") throw new Error(`install failed: ${task.reason}`);
    return task && committed(task) ? statSync(log).size : undefined;
  });
}

interface Cutting {
  readonly points: number;
  readonly boots: number;
  readonly random: Random;
  readonly directory: string;
  readonly accelerator: Accelerator;
  readonly cleanup: Cleanup;
  readonly say: (line: string) => void;
}

async function cutAll(log: WriteLog, cutting: Cutting): Promise<PowercutResult> {
  const { say } = cutting;
  const points = choosePoints(log, cutting.points, cutting.random);
  const flushes = log.writes.filter(({ flushes }) => flushes).length;
  say(`${log.writes.length} writes, ${flushes} flushes: ${points.length} points`);
  const outcomes = judge(log, diskSectors, points);
  const counts = { old: 0, new: 0, reinstall: 0, halfWritten: 0 };
  for (const { outcome, reason } of outcomes) {
    counts[outcome]++;
    if (reason !== undefined) say(reason);
  }
  let booted = 0;
  let bootedOtherwise = 0;
  for (const { point, outcome } of toBoot(outcomes, cutting.boots, cutting.random)) {
    const seen = await bootDisk(log, point, cutting);
    say(`cut after write ${point.after}: ${outcome} expected, the machine ${seen}`);
    if (seen === (outcome === "new" ? "starts its system" : "finds nothing to boot")) booted++;
    else bootedOtherwise++;
  }
  return { points: points.length, flushes, ...counts, booted, bootedOtherwise };
}

/** Right after each flush, and anywhere: half of those keep any part of what was not flushed. */
export function choosePoints(log: WriteLog, count: number, random: Random): readonly CutPoint[] {
  const all = log.writes.length;
  const flushed = log.writes.flatMap(({ flushes }, index) => (flushes ? [index + 1] : []));
  const points: CutPoint[] = flushed.map((after) => ({ after, also: [] }));
  for (let made = 0; made < count; made++) {
    const cut = Math.floor(random.next() * (all + 1));
    if (made % 2 === 0) {
      points.push({ after: cut, also: [] });
      continue;
    }
    const after = flushed.findLast((flush) => flush <= cut) ?? 0;
    const open = Array.from({ length: cut - after }, (_, index) => after + index);
    points.push({ after, also: open.filter(() => random.next() < 0.5) });
  }
  return points.toSorted((a, b) => a.after - b.after);
}

export interface Judged {
  readonly point: CutPoint;
  readonly outcome: CutOutcome;
  /** For `halfWritten`. */
  readonly reason?: string;
}

/** @param points - by their `after`, rising */
export function judge(
  log: WriteLog,
  sectors: number,
  points: readonly CutPoint[],
  base?: (sector: number) => Buffer,
): readonly Judged[] {
  const before = new ReplayedDisk(log, sectors, base);
  const final = new ReplayedDisk(log, sectors, base);
  for (const index of log.writes.keys()) final.apply(index);
  const disk = new ReplayedDisk(log, sectors, base);
  let applied = 0;
  return points.map((point) => {
    for (; applied < point.after; applied++) disk.apply(applied);
    return disk.with(point.also, (): Judged => {
      if (!mayBoot(disk)) return { point, outcome: "reinstall" };
      const wrong = disk.firstDifference(final);
      if (wrong === undefined) return { point, outcome: "new" };
      if (disk.firstDifference(before) === undefined) return { point, outcome: "old" };
      const reason = `cut after write ${point.after} and ${point.also.length} more: it may boot, but sector ${wrong} is not as it shall be`;
      return { point, outcome: "halfWritten", reason };
    });
  });
}

/** The last that must not boot, the first that must, and any others. */
function toBoot(all: readonly Judged[], count: number, random: Random): readonly Judged[] {
  const edge = [
    all.findLast(({ outcome }) => outcome === "reinstall"),
    all.find(({ outcome }) => outcome === "new"),
  ].filter((one) => one !== undefined);
  const others = Array.from({ length: Math.max(0, count - edge.length) }, () => {
    return all[Math.floor(random.next() * all.length)];
  }).filter((one) => one !== undefined);
  return [...edge, ...others].slice(0, count);
}

type Seen = "starts its system" | "finds nothing to boot" | "says neither";

/** Boots the disk that the cut left, without a network. */
async function bootDisk(log: WriteLog, point: CutPoint, cutting: Cutting): Promise<Seen> {
  const path = join(cutting.directory, "cut.img");
  writeDisk(log, point, path);
  const [command, args] = tethered("qemu-system-x86_64", [
    ...["-M", "pc", "-accel", cutting.accelerator, "-m", "256", "-nodefaults", "-display", "none"],
    ...["-net", "none", "-chardev", "stdio,id=console,mux=on,signal=off"],
    // SeaBIOS says on its debug port what it finds to boot.
    ...["-serial", "chardev:console", "-device", "isa-debugcon,iobase=0x402,chardev=console"],
    ...["-drive", `file=${path},format=raw,if=virtio,cache=unsafe`],
  ]);
  const machine = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  const forget = cutting.cleanup.add("QEMU of a cut disk", () => endProcess(machine.pid));
  try {
    return await new Promise<Seen>((resolve) => {
      const late = setTimeout(() => resolve("says neither"), 5 * minute);
      let said = "";
      const look = (part: Buffer) => {
        said = (said + part.toString("latin1")).slice(-4096);
        if (said.includes("No bootable device")) resolve("finds nothing to boot");
        if (/ login: /.test(said)) resolve("starts its system");
      };
      machine.stdout.on("data", look);
      machine.stderr.on("data", look);
      machine.once("close", () => {
        clearTimeout(late);
        resolve("says neither");
      });
    });
  } finally {
    endProcess(machine.pid);
    forget();
    rmSync(path, { force: true });
  }
}

function writeDisk(log: WriteLog, { after, also }: CutPoint, path: string): void {
  const disk = new ReplayedDisk(log, diskSectors);
  for (let index = 0; index < after; index++) disk.apply(index);
  for (const index of also) disk.apply(index);
  const file = openSync(path, "w");
  try {
    ftruncateSync(file, diskSectors * sectorOctets);
    for (const [sector, content] of disk.written()) {
      writeSync(file, content, 0, sectorOctets, sector * sectorOctets);
    }
  } finally {
    closeSync(file);
  }
}
