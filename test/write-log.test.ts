/** Replaying a disk's writes, and what is said of the disk that a power cut left. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { makeGpt, partitionTypes } from "../netinst/partition-table.ts";
import { environmentBlock } from "../netinst/steps/grub-switch.ts";
import { choosePoints, judge, judgeUpdate } from "../scripts/lab/cut-points.ts";
import { createRandom } from "../scripts/lab/random.ts";
import { openWriteLog, ReplayedDisk, sectorOctets } from "../scripts/lab/write-log.ts";
import { temporaryDirectory } from "./support/temporary.ts";

type Entry = { readonly at: number; readonly content: readonly Buffer[] } | "flush" | "discard 3";

const letter = (text: string) => Buffer.alloc(sectorOctets, text);
const boot = Buffer.concat([Buffer.alloc(510, "b"), Buffer.from([0x55, 0xaa])]);

/** As the kernel documents it; the format's own description is the oracle here. */
function logOf(t: ExecutionContext, entries: readonly Entry[]) {
  const padded = (...numbers: readonly bigint[]) => {
    const sector = Buffer.alloc(sectorOctets);
    numbers.forEach((number, index) => void sector.writeBigUInt64LE(number, index * 8));
    return sector;
  };
  const head = padded(0x6a736677736872n, 1n, BigInt(entries.length), 512n);
  const parts = entries.flatMap((entry) => {
    if (entry === "flush") return [padded(0n, 0n, 1n, 0n)];
    if (entry === "discard 3") return [padded(3n, 1n, 4n, 0n)];
    return [padded(BigInt(entry.at), BigInt(entry.content.length), 0n, 0n), ...entry.content];
  });
  const path = join(temporaryDirectory(t), "writes.log");
  writeFileSync(path, Buffer.concat([head, ...parts]));
  const log = openWriteLog(path);
  t.teardown(() => log.close());
  return log;
}

const install: readonly Entry[] = [
  { at: 2, content: [letter("x"), letter("y")] },
  "flush",
  { at: 3, content: [letter("z")] },
  { at: 5, content: [letter("w")] },
  "flush",
  { at: 0, content: [boot] },
  "flush",
];

test("the disk is what the last write to each sector was", (t) => {
  const log = logOf(t, [...install, "discard 3"]);
  const disk = new ReplayedDisk(log, 8);
  for (const index of log.writes.keys()) disk.apply(index);
  const shown = Array.from({ length: 8 }, (_, sector) =>
    disk.sector(sector).toString("latin1", 0, 1),
  );
  t.deepEqual(shown, ["b", "\0", "x", "\0", "\0", "w", "\0", "\0"]);
  t.deepEqual(
    [...disk.written()].map(([sector]) => sector),
    [0, 2, 3, 5],
  );
});

test("a file that is no log, and the half entry at its end, are not taken for writes", (t) => {
  const path = join(temporaryDirectory(t), "file");
  writeFileSync(path, Buffer.alloc(2048, "no log"));
  t.throws(() => openWriteLog(path), { message: /is no log of writes/ });
  const log = logOf(t, install);
  t.is(log.writes.length, install.length);
});

test("what was written in the right order boots whole or not at all", (t) => {
  const log = logOf(t, install);
  const points = choosePoints(log, 400, createRandom(1));
  const outcomes = judge(log, 8, points);
  t.is(outcomes.filter(({ outcome }) => outcome === "halfWritten").length, 0);
  t.true(outcomes.some(({ outcome }) => outcome === "new"));
  t.true(outcomes.some(({ outcome }) => outcome === "reinstall"));
});

test("a boot sector that comes before the rest is found, with the sector that is wrong", (t) => {
  const early: readonly Entry[] = [{ at: 0, content: [boot] }, ...install.slice(0, 5)];
  const log = logOf(t, early);
  const outcomes = judge(log, 8, [{ after: 2, also: [] }]);
  t.like(outcomes[0], { outcome: "halfWritten" });
  t.regex(outcomes[0]?.reason ?? "", /sector 3 is not as it shall be/);
});

test("without the flush before the boot sector, a cut may keep it and lose what came first", (t) => {
  const unflushed = install.filter((entry, index) => !(entry === "flush" && index === 4));
  const log = logOf(t, unflushed);
  const outcomes = judge(log, 8, choosePoints(log, 400, createRandom(1)));
  t.true(outcomes.some(({ outcome }) => outcome === "halfWritten"));
});

test("a disk that still is as it was before counts as the old system", (t) => {
  const log = logOf(t, [{ at: 2, content: [letter("x")] }, "flush"]);
  const base = (sector: number) => (sector === 0 ? boot : letter("o"));
  const outcomes = judge(
    log,
    8,
    [
      { after: 0, also: [] },
      { after: 2, also: [] },
    ],
    base,
  );
  t.deepEqual(
    outcomes.map(({ outcome }) => outcome),
    ["old", "new"],
  );
});

const mebibyte = 2048; // sectors
const slotSectors = 6 * mebibyte;
const [fatAt, aAt, bAt] = [mebibyte, 2 * mebibyte, 3 * mebibyte];

/** A disk with two root slots of which a boots, then the writes of an update. */
function updateOf(t: ExecutionContext, writes: readonly Entry[]) {
  const part = (name: string, at: number) => ({
    ...{ type: partitionTypes.linux, name },
    ...{ offset: at * sectorOctets, length: mebibyte * sectorOctets },
  });
  const parts = [part("boot", fatAt), part("root-a", aAt), part("root-b", bAt)];
  const { head } = makeGpt(slotSectors * sectorOctets, parts);
  const table = Array.from({ length: 40 }, (_, sector) =>
    head.subarray(sector * sectorOctets, (sector + 1) * sectorOctets),
  );
  const before: readonly Entry[] = [
    { at: 0, content: table },
    { at: fatAt, content: [fat(0)] },
    { at: fatAt + 8, content: [environmentBlock({ active: "a" })] },
    { at: aAt, content: [letter("o")] },
    "flush",
  ];
  const log = logOf(t, [...before, ...writes]);
  const span = { from: before.length, to: log.writes.length };
  const points = writes.map((_, index) => ({ after: before.length + index + 1, also: [] }));
  return judgeUpdate(log, slotSectors, points, span).map(({ outcome }) => outcome);
}

/** Its first sector, with the note that it is mounted. */
function fat(mounted: number): Buffer {
  const sector = Buffer.alloc(sectorOctets);
  sector.write("FAT32", 0x52, "latin1");
  sector[0x41] = mounted;
  return sector;
}
const tried: Entry = { at: fatAt + 8, content: [environmentBlock({ active: "a", tried: "b" })] };

test("an update is the old system until the block says otherwise, whatever FAT notes of its mount", (t) => {
  const written: Entry = { at: bAt, content: [letter("n")] };
  const mounts: readonly Entry[] = [{ at: fatAt, content: [fat(1)] }, tried];
  t.deepEqual(updateOf(t, [written, "flush", ...mounts, { at: fatAt, content: [fat(0)] }]), [
    ...["old", "old", "old", "new", "new"],
  ]);
});

test("an update that is tried before it is whole, or touches what runs, is found", (t) => {
  t.deepEqual(updateOf(t, [tried, { at: bAt, content: [letter("n")] }]), ["halfWritten", "new"]);
  t.deepEqual(updateOf(t, [{ at: aAt, content: [letter("x")] }]), ["halfWritten"]);
});
