/** Where an install is cut: which moments share one, and what of them is read from the node's disk. */

import { execFileSync } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { makeGpt, partitionTypes } from "../netinst/partition-table.ts";
import { cutMoments, dealMoments, moments } from "../scripts/lab/cut-moments.ts";
import { openInstallDisk, readInstallImage } from "../scripts/lab/install-disk.ts";
import { temporaryDirectory } from "./support/temporary.ts";

for (const attempts of [2, 3, 4]) {
  test(`with ${attempts} attempts every moment has its turn, and each install an attempt that is not cut`, (t) => {
    const installs = dealMoments(cutMoments, attempts);
    t.deepEqual(installs.flat().toSorted(), cutMoments.toSorted());
    for (const install of installs) {
      t.true(install.filter((one) => moments[one].costsAttempt).length < attempts, install.join());
    }
  });
}

test("nothing follows a cut after which the node boots its own disk", (t) => {
  for (const install of dealMoments(cutMoments, 3)) {
    for (const final of ["final-message", "reboot"] as const) {
      if (install.includes(final)) t.is(install.at(-1), final);
    }
  }
});

test("within an install the moments come in the order in which they are cut", (t) => {
  for (const install of dealMoments(cutMoments, 3)) {
    t.deepEqual(
      install,
      cutMoments.filter((one) => install.includes(one)),
    );
  }
});

const mebibyte = 1 << 20;
const imageOctets = 12 * mebibyte;

/** A disk with one ext4 partition that holds `/usr` and `/boot`. */
function makeImage(directory: string, words: string): string {
  const tree = join(directory, "tree");
  mkdirSync(join(tree, "usr", "lib"), { recursive: true });
  mkdirSync(join(tree, "boot"), { recursive: true });
  writeFileSync(join(tree, "usr", "lib", "words"), words);
  writeFileSync(join(tree, "boot", "vmlinuz"), Buffer.alloc(2 * mebibyte, "kernel"));
  const raw = join(directory, "image.img");
  const part = join(directory, "root.img");
  execFileSync("mke2fs", ["-q", "-t", "ext4", "-d", tree, part, "10M"]);
  const table = makeGpt(imageOctets, [
    { type: partitionTypes.linux, name: "root", offset: mebibyte, length: 10 * mebibyte },
  ]);
  writeFileSync(raw, "");
  truncateSync(raw, imageOctets);
  writeAt(raw, 0, table.head);
  writeAt(raw, mebibyte, readFileSync(part));
  writeAt(raw, imageOctets - table.backup.length, table.backup);
  return raw;
}

function writeAt(path: string, position: number, bytes: Buffer): void {
  const file = openSync(path, "r+");
  writeSync(file, bytes, 0, bytes.length, position);
  closeSync(file);
}

function installedFrom(t: ExecutionContext) {
  const directory = temporaryDirectory(t);
  const raw = makeImage(directory, "as they were");
  execFileSync("zstd", ["-q", raw]);
  const image = readInstallImage(`${raw}.zst`, directory);
  const path = join(directory, "disk.img");
  const disk = openInstallDisk(path, 16 * mebibyte, image);
  disk.becomeForeign();
  return { raw, path, disk, directory };
}

test("a disk of another machine is one that boots, until it is wiped", (t) => {
  const { path, disk } = installedFrom(t);
  t.false(disk.isWiped());
  writeAt(path, 0, Buffer.alloc(mebibyte));
  t.true(disk.isWiped());
});

test("how much of an image has come is seen on the disk while it is written", (t) => {
  const { raw, path, disk } = installedFrom(t);
  const bytes = readFileSync(raw);
  const seen = () => ([1, 25, 50, 99] as const).filter((share) => disk.holds(share));
  t.deepEqual(seen(), []);
  const lines = new Set<string>();
  for (let at = mebibyte; at < bytes.length; at += mebibyte / 4) {
    writeAt(path, at, bytes.subarray(at, at + mebibyte / 4));
    lines.add(seen().join(" "));
  }
  t.deepEqual(
    [...lines].filter((line) => line !== "1"),
    ["1 25", "1 25 50", "1 25 50 99"],
  );
});

test("a disk that holds the image's files is as it says, also with more beside them", (t) => {
  const { raw, path, disk } = installedFrom(t);
  writeAt(path, 0, readFileSync(raw));
  t.is(disk.differsFromImage(), undefined);
});

test("a file system that does not start without a person is named with its damage", (t) => {
  const { raw, path, disk } = installedFrom(t);
  writeAt(path, 0, readFileSync(raw));
  writeAt(path, mebibyte, Buffer.alloc(64 * 1024));
  t.regex(disk.differsFromImage() ?? "", /e2fsck[\s\S]*superblock/i);
});

test("a file that has other words than the image's is named", (t) => {
  const { path, disk, directory } = installedFrom(t);
  const other = join(directory, "other");
  mkdirSync(other);
  writeAt(path, 0, readFileSync(makeImage(other, "not as they were")));
  t.regex(
    disk.differsFromImage() ?? "",
    /1 files differ from the image, the first: .*usr\/lib\/words/,
  );
});
