import test from "ava";
import { startRootSearch } from "../../images/root-search.ts";
import { makeGpt, makeMbr, partitionTypes } from "../../netinst/partition-table.ts";
import { ImageInvalidError } from "../../server/errors.ts";

const mebibyte = 1 << 20;
const size = 6 * mebibyte;
const tables = {
  gpt: makeGpt(size, [
    { name: "boot", type: partitionTypes.efiSystem, offset: mebibyte, length: 2 * mebibyte },
    { name: "root", type: partitionTypes.linux, offset: 3 * mebibyte },
  ]).head,
  mbr: makeMbr(size, 1, [
    { name: "boot", type: "0c", offset: mebibyte, length: 2 * mebibyte },
    { name: "root", type: "83", offset: 3 * mebibyte },
  ]).head,
};

/** @param superblock - start of the partition that has one of ext4 */
function diskOf(head: Buffer, superblock?: number): Buffer {
  const disk = Buffer.alloc(size);
  head.copy(disk);
  if (superblock !== undefined) disk.writeUInt16LE(0xef53, superblock + 1080);
  return disk;
}

function search(disk: Buffer, piece: number): void {
  const running = startRootSearch();
  for (let at = 0; at < disk.length; at += piece) running.write(disk.subarray(at, at + piece));
  running.end();
}

for (const kind of ["gpt", "mbr"] as const) {
  // of the last, the magic number comes in two pieces
  for (const piece of [65_536, size, 3 * mebibyte + 1081]) {
    test(`${kind}: an ext4 partition is found in pieces of ${piece} octets`, (t) => {
      t.notThrows(() => search(diskOf(tables[kind], 3 * mebibyte), piece));
    });
  }

  test(`${kind}: an image without one is refused, with its partitions`, (t) => {
    for (const disk of [diskOf(tables[kind]), diskOf(tables[kind], 4 * mebibyte)]) {
      t.throws(() => search(disk, 65_536), {
        instanceOf: ImageInvalidError,
        message: /^no ext4 root file system in the disk image \(1 \(type .*\), 2 \(type .*\)\): /,
      });
    }
  });
}

test("an image without a partition table is refused, and so is one of a few sectors", (t) => {
  for (const octets of [size, 1024]) {
    t.throws(() => search(Buffer.alloc(octets), 512), { message: /\(no partition table\)/ });
  }
});
