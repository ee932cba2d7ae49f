import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import {
  growLastPartition,
  headOctets,
  makeGpt,
  makeMbr,
  parsePartitionTable,
  partitionTypes,
} from "../../netinst/partition-table.ts";

const mebibyte = 1 << 20;

interface SfdiskTable {
  readonly partitiontable: {
    readonly label: string;
    readonly lastlba?: number;
    readonly partitions: readonly { start: number; size: number; type: string; uuid?: string }[];
  };
}

/** A sparse file that sfdisk partitions, and what it says about it. */
class DiskFile {
  readonly directory = mkdtempSync(join(tmpdir(), "marcoboot-table-"));
  readonly path = join(this.directory, "disk");

  constructor(octets: number) {
    writeFileSync(this.path, "");
    truncateSync(this.path, octets);
  }
  partition(script: string): void {
    const { status, stderr } = spawnSync("/usr/sbin/sfdisk", [this.path], { input: script });
    if (status !== 0) throw new Error(String(stderr));
  }
  describe(): SfdiskTable["partitiontable"] {
    const { stdout, stderr } = spawnSync("/usr/sbin/sfdisk", ["--json", this.path]);
    if (String(stderr) !== "") throw new Error(String(stderr));
    return (JSON.parse(String(stdout)) as SfdiskTable).partitiontable;
  }
  head(): Buffer {
    return readFileSync(this.path).subarray(0, headOctets);
  }
  put(head: Buffer, backup: Buffer | undefined, octets: number): void {
    const bytes = Buffer.alloc(octets);
    head.copy(bytes, 0);
    backup?.copy(bytes, octets - backup.length);
    writeFileSync(this.path, bytes);
  }
  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true });
  }
}

const gptScript =
  "label: gpt\nstart=2048, size=8192, type=uefi\nstart=10240, size=20480, type=linux\n";
const mbrScript = "label: dos\nstart=2048, size=8192, type=c\nstart=10240, size=20480, type=83\n";

for (const [label, script] of [
  ["gpt", gptScript],
  ["mbr", mbrScript],
] as const) {
  test(`a ${label} table made by sfdisk is read as sfdisk reads it`, (t) => {
    using disk = new DiskFile(32 * mebibyte);
    disk.partition(script);
    const table = parsePartitionTable(disk.head());
    t.is(table?.kind, label);
    t.deepEqual(
      table?.partitions.map(({ number, offset, length }) => [number, offset, length]),
      [
        [1, mebibyte, 4 * mebibyte],
        [2, 5 * mebibyte, 10 * mebibyte],
      ],
    );
  });

  test(`a grown ${label} table is accepted by sfdisk without a complaint`, (t) => {
    using disk = new DiskFile(16 * mebibyte);
    disk.partition(script);
    const before = disk.describe();
    const { head, backup, grown } = growLastPartition(disk.head(), 64 * mebibyte);
    disk.put(head, backup, 64 * mebibyte);
    const after = disk.describe();
    t.deepEqual(after.partitions[0], before.partitions[0]);
    t.is(after.partitions[1]?.start, 10240);
    t.is(after.partitions[1]?.uuid, before.partitions[1]?.uuid);
    // GPT: one MiB less, where the backup lies
    t.is(after.partitions[1]?.size, (label === "gpt" ? 58 : 59) * 2048);
    t.is(grown?.length, (after.partitions[1]?.size ?? 0) * 512);
  });
}

test("a disk as large as the image keeps its partitions, and the backup GPT its place", (t) => {
  using disk = new DiskFile(16 * mebibyte);
  disk.partition(gptScript.replace("20480", "22494")); // to the last usable sector
  const original = readFileSync(disk.path);
  const { head, backup, grown } = growLastPartition(disk.head(), 16 * mebibyte);
  t.is(grown, undefined);
  t.true(head.equals(original.subarray(0, headOctets)));
  t.true(backup?.equals(original.subarray(-(backup?.length ?? 0))));
});

test("a table with a wrong sum is no table", (t) => {
  using disk = new DiskFile(16 * mebibyte);
  disk.partition(gptScript);
  const head = disk.head();
  head[2 * 512 + 40] = (head[2 * 512 + 40] ?? 0) ^ 1;
  t.is(parsePartitionTable(head), undefined);
});

test("zeros are no table", (t) => {
  t.is(parsePartitionTable(Buffer.alloc(headOctets)), undefined);
});

test("a GPT made here is accepted by sfdisk, with types and names", (t) => {
  const size = 256 * mebibyte;
  using disk = new DiskFile(size);
  const guid = "3f1a2b4c-0000-4111-8222-0123456789ab";
  const { head, backup } = makeGpt(size, [
    {
      type: partitionTypes.biosBoot,
      name: "BIOS boot",
      offset: 40 * 512,
      length: mebibyte - 40 * 512,
    },
    { type: partitionTypes.efiSystem, name: "EFI system", offset: mebibyte, length: 64 * mebibyte },
    { type: partitionTypes.linux, name: "root", offset: 65 * mebibyte, guid },
  ]);
  disk.put(head, backup, size);
  const { label, partitions } = disk.describe();
  t.is(label, "gpt");
  t.deepEqual(
    partitions.map(({ start, type }) => [start, type.toLowerCase()]),
    [
      [40, partitionTypes.biosBoot],
      [2048, partitionTypes.efiSystem],
      [65 * 2048, partitionTypes.linux],
    ],
  );
  t.is(partitions[2]?.uuid?.toLowerCase(), guid);
});

test("an MBR made here is accepted by sfdisk", (t) => {
  const size = 64 * mebibyte;
  using disk = new DiskFile(size);
  const { head } = makeMbr(size, 0x1234abcd, [
    { type: "0c", name: "boot", offset: mebibyte, length: 16 * mebibyte },
    { type: "83", name: "root", offset: 17 * mebibyte },
  ]);
  disk.put(head, undefined, size);
  t.deepEqual(
    disk.describe().partitions.map(({ start, size: sectors, type }) => [start, sectors, type]),
    [
      [2048, 32768, "c"],
      [34816, 47 * 2048, "83"],
    ],
  );
});
