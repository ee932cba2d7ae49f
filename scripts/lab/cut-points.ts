/**
 * The moments at which a power cut is played, and what each leaves: judged by the disk's octets, by
 * what a firmware and GRUB would take from them.
 */

import { parsePartitionTable } from "../../netinst/partition-table.ts";
import { environmentFile, parseEnvironment } from "../../netinst/steps/grub-switch.ts";
import type { Random } from "./random.ts";
import { mayBoot, ReplayedDisk, sectorOctets, type WriteLog } from "./write-log.ts";

export type CutOutcome = "old" | "new" | "reinstall" | "halfWritten";

export interface CutPoint {
  /** Writes before it, all of them on the disk. */
  readonly after: number;
  /** Later writes that reached the disk too, though nothing was flushed since. */
  readonly also: readonly number[];
}

export interface Judged {
  readonly point: CutPoint;
  readonly outcome: CutOutcome;
  /** For `halfWritten`. */
  readonly reason?: string;
}

/** What is written between two moments of a log: `from` first, `to` no more. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** Right after each flush, and anywhere: half of those keep any part of what was not flushed. */
export function choosePoints(
  log: WriteLog,
  count: number,
  random: Random,
  { from, to }: Span = wholeOf(log),
): readonly CutPoint[] {
  const flushed = log.writes
    .slice(from, to)
    .flatMap(({ flushes }, index) => (flushes ? [from + index + 1] : []));
  const points: CutPoint[] = flushed.map((after) => ({ after, also: [] }));
  for (let made = 0; made < count; made++) {
    const cut = from + Math.floor(random.next() * (to - from + 1));
    if (made % 2 === 0) {
      points.push({ after: cut, also: [] });
      continue;
    }
    const after = flushed.findLast((flush) => flush <= cut) ?? from;
    const open = Array.from({ length: cut - after }, (_, index) => after + index);
    points.push({ after, also: open.filter(() => random.next() < 0.5) });
  }
  return points.toSorted((a, b) => a.after - b.after);
}

type Sentence = (disk: ReplayedDisk, point: CutPoint) => Omit<Judged, "point">;

/**
 * Of an install: nothing boots, or the whole new system does.
 *
 * @param points - by their `after`, rising
 */
export function judge(
  log: WriteLog,
  sectors: number,
  points: readonly CutPoint[],
  base?: (sector: number) => Buffer,
  { from, to }: Span = wholeOf(log),
): readonly Judged[] {
  const before = replayed(log, sectors, from, base);
  const final = replayed(log, sectors, to, base);
  const sentence: Sentence = (disk, point) => {
    if (!mayBoot(disk)) return { outcome: "reinstall" };
    const wrong = disk.firstDifference(final);
    if (wrong === undefined) return { outcome: "new" };
    if (disk.firstDifference(before) === undefined) return { outcome: "old" };
    return { outcome: "halfWritten", reason: `${textOf(point)}: it may boot, ${unlike(wrong)}` };
  };
  return eachPoint(log, sectors, points, base, sentence);
}

/**
 * Of an update: the old system boots, untouched, or the new one, whole. Which of them is what GRUB
 * would read of its environment block. Of the boot partition every sector is as before or as after.
 */
export function judgeUpdate(
  log: WriteLog,
  sectors: number,
  points: readonly CutPoint[],
  { from, to }: Span,
): readonly Judged[] {
  const before = replayed(log, sectors, from);
  const final = replayed(log, sectors, to);
  const { boot, other } = partsOf(before);
  const block = environmentOf(before, boot);
  const isOther = (sector: number) => sector >= other.from && sector < other.to;
  const isBoot = (sector: number) => sector >= boot.from && sector < boot.to;
  const sentence: Sentence = (disk, point) => {
    const touched = disk.firstDifference(before, (sector) => !isOther(sector) && !isBoot(sector));
    if (touched !== undefined) return halfWritten(point, `sector ${touched} is of what runs`);
    const torn = disk.firstDifference(before, (sector) => {
      return isBoot(sector) && !sameFat(disk.sector(sector), before, final, sector);
    });
    if (torn !== undefined) return halfWritten(point, `sector ${torn} of the boot partition`);
    const { tried } = parseEnvironment(disk.sector(block));
    if (tried === undefined) return { outcome: "old" };
    const wrong = disk.firstDifference(final, isOther);
    if (wrong === undefined) return { outcome: "new" };
    return halfWritten(point, `it would be tried, ${unlike(wrong)}`);
  };
  return eachPoint(log, sectors, points, undefined, sentence);
}

/** In FAT32's first sector: the octet in which Linux notes that it is mounted, which no boot loader reads. */
const mountedAt = 0x41;

/** As before or as after, mounted or not. */
function sameFat(now: Buffer, before: ReplayedDisk, final: ReplayedDisk, sector: number): boolean {
  return [before, final].some((disk) => {
    const then = disk.sector(sector);
    if (now.equals(then)) return true;
    const isFirst = then.toString("latin1", 0x52, 0x57) === "FAT32";
    const noted = Buffer.from(then);
    noted[mountedAt] = now[mountedAt] ?? 0;
    return isFirst && now.equals(noted);
  });
}

function halfWritten(point: CutPoint, reason: string): Omit<Judged, "point"> {
  return { outcome: "halfWritten", reason: `${textOf(point)}: ${reason}` };
}

/** The boot partition and the root slot that does not run, in sectors. */
export function partsOf(disk: ReplayedDisk): {
  readonly boot: Span;
  readonly other: Span;
  readonly active: Span;
} {
  const head = Buffer.concat(Array.from({ length: 64 }, (_, sector) => disk.sector(sector)));
  const partitions = parsePartitionTable(head)?.partitions ?? [];
  const [boot, a, b] = partitions
    .filter(({ offset }) => offset >= 1 << 20)
    .map(({ offset, length }): Span => {
      return { from: offset / sectorOctets, to: (offset + length) / sectorOctets };
    });
  if (!boot || !a || !b) throw new Error("the disk has no two root slots");
  const { active } = parseEnvironment(disk.sector(environmentOf(disk, boot)));
  return active === "a" ? { boot, active: a, other: b } : { boot, active: b, other: a };
}

/** Found by its content: it is a sector of its own. */
function environmentOf(disk: ReplayedDisk, boot: Span): number {
  for (let sector = boot.from; sector < boot.to; sector++) {
    if (disk.sector(sector).toString("latin1", 0, 24) === "# GRUB Environment Block") return sector;
  }
  throw new Error(`the boot partition holds no ${environmentFile}`);
}

function eachPoint(
  log: WriteLog,
  sectors: number,
  points: readonly CutPoint[],
  base: ((sector: number) => Buffer) | undefined,
  sentence: Sentence,
): readonly Judged[] {
  const disk = new ReplayedDisk(log, sectors, base);
  let applied = 0;
  return points.map((point) => {
    for (; applied < point.after; applied++) disk.apply(applied);
    return disk.with(point.also, (): Judged => ({ point, ...sentence(disk, point) }));
  });
}

function replayed(
  log: WriteLog,
  sectors: number,
  to: number,
  base?: (sector: number) => Buffer,
): ReplayedDisk {
  const disk = new ReplayedDisk(log, sectors, base);
  for (let index = 0; index < to; index++) disk.apply(index);
  return disk;
}

function wholeOf({ writes }: WriteLog): Span {
  return { from: 0, to: writes.length };
}

function textOf({ after, also }: CutPoint): string {
  return `cut after write ${after} and ${also.length} more`;
}

function unlike(sector: number): string {
  return `but sector ${sector} is not as it shall be`;
}
