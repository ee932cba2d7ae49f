/**
 * `npm run -s lab -- powercut`: a real install and a real update on a QEMU machine whose disk writes
 * are logged, and then every disk that a power cut could have left: at each flush, and at random
 * points with any part of what was not flushed yet.
 *
 * Within an install a disk that no firmware would boot is installed again when its node boots from
 * the network; one that a firmware would boot must hold the whole new system, octet by octet. Within
 * an update it boots the old system, untouched, or tries the new one, whole. Some of the disks,
 * those around the commits among them, are booted for real; a new system that was tried once and is
 * confirmed by nobody must have given way to the old one at the next boot.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { prepare } from "../demo/prepare.ts";
import { readArguments, refuse } from "../usage.ts";
import type { Cleanup } from "./cleanup.ts";
import { bootDisk, type Seen, writeDisk } from "./cut-boot.ts";
import {
  type CutOutcome,
  choosePoints,
  type Judged,
  judge,
  judgeUpdate,
  partsOf,
  type Span,
} from "./cut-points.ts";
import { type Operation, operations, record } from "./cut-record.ts";
import type { Accelerator } from "./kvm.ts";
import { removeStaleNamespaces } from "./namespaces.ts";
import { wholeNumber } from "./numbers.ts";
import { createRandom, type Random } from "./random.ts";
import { openWriteLog, ReplayedDisk, sectorOctets, type WriteLog } from "./write-log.ts";

interface Counts extends Readonly<Record<CutOutcome, number>> {
  readonly points: number;
  /** Of the points: those right after a flush. */
  readonly flushes: number;
  /** Disks that were booted, and did what was expected of them. */
  readonly booted: number;
  readonly bootedOtherwise: number;
}

/** Of all operations together, and of each. */
export type PowercutResult = Counts & Readonly<Partial<Record<Operation, Counts>>>;

const usage = `
npm run -s lab -- powercut: what a power cut at any moment of an install or an update leaves

  --operation both   install (of a whole disk), update, or both (of a root file system)
  --points 200       random points of each, besides every flush
  --boots 4          disks of each that are booted for real: those around the commit, then any
  --seed 1
  --json             the result as a line of JSON

Progress is on standard error. Root and QEMU are needed. Exit code 1 when one disk would boot
half a system, or does not do what was expected of it.
`;

const diskSectors = (2 * 1024 ** 3) / sectorOctets;

/** @returns the exit code. */
export async function runPowercut(cleanup: Cleanup): Promise<number> {
  const { values } = readArguments(usage, {
    allowPositionals: true,
    options: {
      operation: { type: "string", default: "both" },
      points: { type: "string", default: "200" },
      boots: { type: "string", default: "4" },
      seed: { type: "string", default: "1" },
      json: { type: "boolean", default: false },
    },
  });
  const wanted = operations.filter((one) => [one, "both"].includes(values.operation));
  if (wanted.length === 0) refuse(`--operation ${values.operation}: install, update or both`);
  const random = createRandom(wholeNumber("seed", values.seed, 0));
  const points = wholeNumber("points", values.points, 0, 1_000_000);
  const boots = wholeNumber("boots", values.boots, 0, 1000);
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  const directory = mkdtempSync("/var/tmp/marcoboot-powercut-");
  cleanup.add(directory, () => rmSync(directory, { recursive: true, force: true }));
  const prepared = await prepare(["bios"], say);
  removeStaleNamespaces();
  const log = join(directory, "writes.log");
  const spans = await record({ directory, log, wanted, prepared, cleanup, say });
  const opened = openWriteLog(log);
  const { accelerator } = prepared;
  const cutting = { points, boots, random, directory, accelerator, cleanup, say };
  try {
    let result: PowercutResult = nothing;
    for (const operation of wanted) {
      const span = spans[operation];
      if (!span) continue;
      const counts = await cutAll(opened, operation, span, cutting);
      result = { ...result, ...sum(result, counts), [operation]: counts };
    }
    process.stdout.write(`${values.json ? JSON.stringify(result) : textOf(result, wanted)}\n`);
    return result.halfWritten === 0 && result.bootedOtherwise === 0 ? 0 : 1;
  } finally {
    opened.close();
  }
}

const nothing: Counts = {
  ...{ points: 0, flushes: 0, old: 0, new: 0, reinstall: 0, halfWritten: 0 },
  ...{ booted: 0, bootedOtherwise: 0 },
};
const members = Object.keys(nothing) as readonly (keyof Counts)[];

function sum(one: Counts, other: Counts): Counts {
  const added = members.map((name) => [name, one[name] + other[name]]);
  return Object.fromEntries(added) as unknown as Counts;
}

function textOf(result: PowercutResult, wanted: readonly Operation[]): string {
  const columns = [result, ...wanted.flatMap((operation) => result[operation] ?? [])];
  const head = ["", "all", ...wanted].map((text) => text.padEnd(16)).join("");
  const lines = members.map((name) =>
    [name, ...columns.map((counts) => String(counts[name]))]
      .map((text) => text.padEnd(16))
      .join("")
      .trimEnd(),
  );
  return [head.trimEnd(), ...lines].join("\n");
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

async function cutAll(
  log: WriteLog,
  operation: Operation,
  span: Span,
  cutting: Cutting,
): Promise<Counts> {
  const { say, random } = cutting;
  const points = choosePoints(log, cutting.points, random, span);
  const flushes = log.writes.slice(span.from, span.to).filter((write) => write.flushes).length;
  say(`${operation}: ${span.to - span.from} writes, ${flushes} flushes: ${points.length} points`);
  const outcomes =
    operation === "install"
      ? judge(log, diskSectors, points, undefined, span)
      : judgeUpdate(log, diskSectors, points, span);
  const counts = { old: 0, new: 0, reinstall: 0, halfWritten: 0 };
  for (const { outcome, reason } of outcomes) {
    counts[outcome]++;
    if (reason !== undefined) say(reason);
  }
  let booted = 0;
  let bootedOtherwise = 0;
  const rootsOf = rootsAt(log, operation, span);
  for (const one of toBoot(outcomes, cutting.boots, random)) {
    const wrong = await bootCut(log, one, rootsOf, cutting);
    say(`cut after write ${one.point.after}: ${one.outcome} expected, ${wrong ?? "and seen"}`);
    if (wrong === undefined) booted++;
    else bootedOtherwise++;
  }
  return { points: points.length, flushes, ...counts, booted, bootedOtherwise };
}

/** The last that must boot the one way, the first that must boot the other, and any others. */
function toBoot(all: readonly Judged[], count: number, random: Random): readonly Judged[] {
  const edge = [
    all.findLast(({ outcome }) => outcome === "reinstall" || outcome === "old"),
    all.find(({ outcome }) => outcome === "new"),
  ].filter((one) => one !== undefined);
  const others = Array.from({ length: Math.max(0, count - edge.length) }, () => {
    return all[Math.floor(random.next() * all.length)];
  }).filter((one) => one !== undefined);
  return [...edge, ...others].slice(0, count);
}

/** UUIDs of the roots that an update may end in. */
interface Roots {
  readonly old: string;
  readonly new: string;
}

function rootsAt(log: WriteLog, operation: Operation, { from, to }: Span): Roots | undefined {
  if (operation === "install") return undefined;
  const before = new ReplayedDisk(log, diskSectors);
  for (let index = 0; index < from; index++) before.apply(index);
  const { active, other } = partsOf(before);
  const final = new ReplayedDisk(log, diskSectors);
  for (let index = 0; index < to; index++) final.apply(index);
  return { old: uuidAt(before, active), new: uuidAt(final, other) };
}

/** Of an ext4 file system: in its superblock, 1024 octets in. */
function uuidAt(disk: ReplayedDisk, { from }: Span): string {
  const hex = disk.sector(from + 2).toString("hex", 0x68, 0x78);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** @returns what was seen instead of what was expected */
async function bootCut(
  log: WriteLog,
  { point, outcome }: Judged,
  roots: Roots | undefined,
  { directory, accelerator, cleanup }: Cutting,
): Promise<string | undefined> {
  const path = join(directory, "cut.img");
  writeDisk(log, point, diskSectors, path);
  try {
    const seen = await bootDisk(path, accelerator, cleanup);
    if (outcome === "reinstall" || outcome === "halfWritten") {
      return seen.does === "finds nothing to boot" ? undefined : `the machine ${seen.does}`;
    }
    const wrong = otherThan(seen, roots?.[outcome]);
    if (wrong !== undefined || !roots || outcome === "old") return wrong;
    const next = otherThan(await bootDisk(path, accelerator, cleanup), roots.old);
    return next && `after the boot that tried it: ${next}`;
  } finally {
    rmSync(path, { force: true });
  }
}

function otherThan({ does, root }: Seen, wanted: string | undefined): string | undefined {
  if (does !== "starts a system") return `the machine ${does}`;
  return wanted === undefined || root === wanted ? undefined : `it starts the root ${root}`;
}
