import { spawnSync } from "node:child_process";
import { closeSync, openSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fc, testProp } from "@fast-check/ava";
import test, { type ExecutionContext } from "ava";
import type { Disk, DiskContents } from "#protocol/node.ts";
import { contentsOf, readContents } from "../../netinst/disk-contents.ts";
import { makeGpt, makeMbr, partitionTypes } from "../../netinst/partition-table.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const mebibyte = 1 << 20;
const size = 64 * mebibyte;

/** @param parts - octets at positions of a disk of zeros */
async function on(
  parts: readonly (readonly [at: number, octets: Buffer])[],
): Promise<DiskContents> {
  const disk = Buffer.alloc(size);
  for (const [at, octets] of parts) octets.copy(disk, at);
  return await contentsOf(size, async (from, length) => disk.subarray(from, from + length));
}
const text = (octets: string) => Buffer.from(octets, "latin1");

test("zeros are blank, and so is erased flash", async (t) => {
  t.deepEqual(await on([]), { kind: "blank", text: "nothing" });
  t.is((await on([[0, Buffer.alloc(size, 0xff)]])).kind, "blank");
});

test("one octet in the first or the last MiB is not blank", async (t) => {
  const unknown = { kind: "unknown", text: "data of no known kind, perhaps encrypted" };
  t.deepEqual(await on([[mebibyte - 1, Buffer.from([1])]]), unknown);
  t.deepEqual(await on([[size - 1, Buffer.from([1])]]), unknown);
});

test("a GPT is told with what its partitions hold, and by the disk's GUID", async (t) => {
  const { head, backup } = makeGpt(size, [
    { type: partitionTypes.efiSystem, name: "esp", offset: mebibyte, length: mebibyte },
    { type: partitionTypes.linux, name: "root", offset: 2 * mebibyte, length: 2 * mebibyte },
    { type: partitionTypes.linux, name: "data", offset: 4 * mebibyte, length: 2 * mebibyte },
    { type: partitionTypes.linux, name: "free", offset: 6 * mebibyte },
  ]);
  const found = await on([
    [0, head],
    [size - backup.length, backup],
    [mebibyte + 0x36, text("FAT16")],
    [2 * mebibyte + 0x438, text("\x53\xef")],
    [4 * mebibyte, text("something")],
  ]);
  t.like(found, { kind: "known", text: "GPT with 4 partitions: FAT, ext, unknown, nothing" });
  t.is(found.id, `gpt:${head.toString("hex", 568, 584)}`);
});

test("an MBR is told by its disk id", async (t) => {
  const { head } = makeMbr(size, 0xdeadbeef, [{ type: "83", name: "", offset: mebibyte }]);
  const found = await on([
    [0, head],
    [mebibyte, text("LUKS\xba\xbe")],
  ]);
  t.deepEqual(found, { kind: "known", text: "MBR with 1 partition: LUKS", id: "mbr:deadbeef" });
});

test("a backup GPT that was left is not overlooked", async (t) => {
  const { backup } = makeGpt(size, [{ type: partitionTypes.linux, name: "a", offset: mebibyte }]);
  t.like(await on([[size - backup.length, backup]]), {
    kind: "known",
    text: "a GPT of which only the backup is left",
  });
});

// Offsets: util-linux libblkid's probes of the same names.
const volumes: readonly (readonly [name: string, at: number, octets: string])[] = [
  ["NTFS", 3, "NTFS    "],
  ["exFAT", 3, "EXFAT   "],
  ["BitLocker", 3, "-FVE-FS-"],
  ["XFS", 0, "XFSB"],
  ["Btrfs", 0x1_0040, "_BHRfS_M"],
  ["swap", 4086, "SWAPSPACE2"],
  ["LVM", 512, "LABELONE"],
  ["RAID member", 4096, "\xfc\x4e\x2b\xa9"],
  ["ZFS", 0x2_0000, "\x0c\xb1\xba\x00"],
];
for (const [name, at, octets] of volumes) {
  test(`${name} on the whole disk`, async (t) => {
    t.like(await on([[at, text(octets)]]), { kind: "known", text: `${name} on the whole disk` });
  });
}

test("a disk smaller than what is looked at is read to its end", async (t) => {
  const small = Buffer.alloc(4096);
  const read = async (from: number, length: number) => small.subarray(from, from + length);
  t.is((await contentsOf(small.length, read)).kind, "blank");
});

function diskFile(t: ExecutionContext): { path: string; disk: Disk } {
  const path = join(temporaryDirectory(t), "disk");
  writeFileSync(path, "");
  truncateSync(path, size);
  return { path, disk: { name: "disk-file", sizeBytes: size, removable: false } };
}

for (const [name, command, args] of [
  ["ext", "mke2fs", ["-q", "-F"]],
  ["swap", "mkswap", ["-q"]],
] as const) {
  test(`what ${command} makes is found in a file, which stays as it is`, async (t) => {
    const { path, disk } = diskFile(t);
    const made = spawnSync(`/usr/sbin/${command}`, [...args, path]);
    t.is(made.status, 0, String(made.stderr));
    t.like(await readContents(disk, path), { kind: "known", text: `${name} on the whole disk` });
  });
}

test("a disk that cannot be read has unknown contents, not none", async (t) => {
  const disk = { name: "nonexistent", sizeBytes: size, removable: false };
  t.is(await readContents(disk), undefined);
  const { path, disk: file } = diskFile(t);
  const handle = openSync(path, "r+");
  writeSync(handle, Buffer.from([1]), 0, 1, 5);
  closeSync(handle);
  t.is((await readContents(file, path))?.kind, "unknown");
});

testProp(
  "whatever lies on a disk is told without failing, and is never blank",
  [
    fc.array(fc.tuple(fc.nat(4095), fc.nat(255)), { minLength: 1, maxLength: 64 }),
    fc.constantFrom("gpt", "mbr", "none"),
  ],
  async (t, changes, table) => {
    const small = 4 * mebibyte;
    const made =
      table === "gpt"
        ? makeGpt(small, [{ type: partitionTypes.linux, name: "a", offset: mebibyte }])
        : makeMbr(small, 1, [{ type: "83", name: "a", offset: mebibyte }]);
    const octets = Buffer.alloc(small);
    if (table !== "none") made.head.copy(octets);
    for (const [at, value] of changes) octets[at] = value;
    const read = async (from: number, length: number) => octets.subarray(from, from + length);
    const { kind } = await contentsOf(small, read);
    const first = octets[0];
    const isEven = octets.every((octet) => octet === first) && (first === 0 || first === 255);
    t.is(kind === "blank", isEven);
  },
);
