/**
 * A Raspberry Pi's boot partition, written by a real kernel in QEMU: the other slot's boot files, then
 * the sector that chooses. Power is cut after each write, and what is there is read by mtools.
 */

import { spawn } from "node:child_process";
import {
  closeSync,
  cpSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { type CpioEntry, packCpio, padding } from "../../netinst/initramfs/cpio.ts";
import { makeMbr } from "../../netinst/partition-table.ts";
import type { RootVolume } from "../../netinst/steps/disk-layout.ts";
import { piSwitch, writePiBoot } from "../../netinst/steps/pi-switch.ts";
import { run, tethered } from "../../scripts/lab/command.ts";
import { choosePoints } from "../../scripts/lab/cut-points.ts";
import { loggedDisk } from "../../scripts/lab/qemu.ts";
import { createRandom } from "../../scripts/lab/random.ts";
import { openWriteLog, ReplayedDisk, sectorOctets } from "../../scripts/lab/write-log.ts";
import { cacheDirectory } from "../../scripts/setup.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const mebibyte = 1 << 20;
/** The least that mkfs.vfat makes a FAT32 of with clusters of one sector, as an install has them. */
const fatOctets = 40 * mebibyte;
const diskOctets = mebibyte + fatOctets;

/**
 * As the agent writes it: the slot's files, a clean unmount and a flush of the disk, which an unmount
 * of a FAT is not; then one sector, in place, and fsync.
 */
const script = `#!/bin/sh
export PATH=/bin
for one in mount mkdir modprobe cp dd umount sync poweroff sleep; do
  eval "$one() { busybox $one \\"\\$@\\"; }"
done
mkdir -p /mnt /dev /proc /sys
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
modprobe -a -q virtio_pci virtio_blk vfat nls_cp437 nls_ascii nls_iso8859_1
while [ ! -b /dev/vda1 ]; do sleep 1; done
mount -t vfat /dev/vda1 /mnt && cp -r /new/b /mnt/b && umount /mnt
dd if=/dev/zero of=/dev/vda count=0 conv=notrunc,fsync && echo "boot files are written"
mount -t vfat /dev/vda1 /mnt
dd if=/mnt/b/config.txt of=/mnt/config.txt bs=512 conv=notrunc,fsync && echo "slot b is chosen"
umount /mnt
sync
poweroff -f
`;

function treeOf(directory: string, name: string): string {
  const files = {
    "boot/firmware/start4.elf": "firmware",
    "boot/vmlinuz-1": `kernel of ${name} `.repeat(20_000),
    "boot/initrd.img-1": `initrd of ${name} `.repeat(10_000),
    "usr/lib/linux-image-1/broadcom/bcm2711-rpi-4-b.dtb": `device tree of ${name}`,
  };
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), content);
  }
  return directory;
}

function rootOf(slot: "a" | "b"): RootVolume {
  const place = { offset: 0, length: 0, id: "" };
  return { name: `root-${slot}`, ...place, partitionUuid: `0a0b0c0d-0${slot === "a" ? 2 : 3}` };
}

/** A card that boots slot a, and what a directory of slot b holds. */
function makeCard(t: ExecutionContext) {
  const directory = temporaryDirectory(t);
  const [card, played] = [join(directory, "card"), join(directory, "played")];
  mkdirSync(played);
  writePiBoot(played, treeOf(join(directory, "one"), "one"), rootOf("a"), "a");
  const fat = join(directory, "fat");
  writeFileSync(fat, "");
  truncateSync(fat, fatOctets);
  run("mkfs.vfat", ["-F", "32", "-s", "1", fat]);
  const names = readdirSync(played).map((name) => join(played, name));
  run("mcopy", ["-s", "-i", fat, ...names, "::"]);
  piSwitch.fill?.(played, treeOf(join(directory, "two"), "two"), rootOf("b"), "b");
  const wanted = { type: "0c", name: "boot", offset: mebibyte, length: fatOctets };
  writeFileSync(card, makeMbr(diskOctets, 1, [wanted]).head);
  const file = openSync(card, "r+");
  writeSync(file, readFileSync(fat), 0, fatOctets, mebibyte);
  closeSync(file);
  return { directory, card, played };
}

/** @returns how much of the log there was when the boot files had been written */
async function writeOn(card: string, log: string, initramfs: string): Promise<number> {
  const [command, args] = tethered("qemu-system-x86_64", [
    ...["-M", "pc", "-accel", "tcg", "-m", "192", "-nodefaults", "-display", "none"],
    ...["-no-reboot", "-net", "none", "-serial", "stdio"],
    ...["-kernel", join(cacheDirectory, "netinst/amd64/kernel"), "-initrd", initramfs],
    ...["-append", "console=ttyS0 rdinit=/choose panic=1"],
    ...["-blockdev", loggedDisk(card, log), "-device", "virtio-blk-pci,drive=disk"],
  ]);
  const machine = spawn(command, args);
  let said = "";
  let filled = 0;
  const late = setTimeout(() => machine.kill("SIGKILL"), 5 * 60_000);
  machine.stdout.on("data", (part: Buffer) => {
    said += part.toString("latin1");
    if (filled === 0 && said.includes("boot files are written")) filled = statSync(log).size;
  });
  await new Promise((resolve, reject) => machine.once("error", reject).once("close", resolve));
  clearTimeout(late);
  if (filled > 0 && said.includes("slot b is chosen")) return filled;
  throw new Error(`the machine did not choose: ${said.slice(-2000)}`);
}

test("power that goes while a slot's boot files are written, or while it is chosen, leaves a card that boots one slot, whole", async (t) => {
  t.timeout(8 * 60_000);
  const { directory, card, played } = makeCard(t);
  const before = join(directory, "before");
  cpSync(card, before);
  const log = join(directory, "log");
  writeFileSync(log, "");
  const initramfs = join(directory, "initramfs");
  const stage1 = readFileSync(join(cacheDirectory, "netinst/amd64/stage1.cpio.zst"));
  const archive = packCpio([
    { kind: "directory", path: "new" },
    { kind: "directory", path: "new/b" },
    ...readdirSync(join(played, "b")).map(
      (name): CpioEntry => ({
        ...{ kind: "file", path: `new/b/${name}` },
        content: readFileSync(join(played, "b", name)),
      }),
    ),
    { kind: "file", path: "choose", content: Buffer.from(script), executable: true },
  ]);
  writeFileSync(initramfs, Buffer.concat([stage1, padding(stage1.length), archive]));
  const filledAt = await writeOn(card, log, initramfs);

  const writes = openWriteLog(log);
  t.teardown(() => writes.close());
  const short = openWriteLog(log, filledAt);
  const filled = short.writes.length;
  short.close();
  const base = readFileSync(before);
  const each = writes.writes.map((_, index) => ({ after: index + 1, also: [] }));
  const points = [...each, ...choosePoints(writes, 100, createRandom(7))];
  const cut = join(directory, "cut");
  const found = { a: 0, b: 0 };
  for (const { after, also } of points) {
    const disk = new ReplayedDisk(writes, diskOctets / sectorOctets, (sector) =>
      base.subarray(sector * sectorOctets, (sector + 1) * sectorOctets),
    );
    for (let index = 0; index < after; index++) disk.apply(index);
    for (const index of also) disk.apply(index);
    cpSync(before, cut);
    const file = openSync(cut, "r+");
    for (const [sector, content] of disk.written()) {
      writeSync(file, content, 0, sectorOctets, sector * sectorOctets);
    }
    closeSync(file);
    const read = (name: string) => run("mtype", ["-i", `${cut}@@${mebibyte}`, `::${name}`]);
    const said = read("config.txt");
    const slot = (["a", "b"] as const).find(
      (one) => said === readFileSync(join(played, one, "config.txt"), "utf8"),
    );
    const where = `after write ${after} of ${writes.writes.length}, and ${also.join(" ")}`;
    if (slot === undefined) return t.fail(`${where}: ${said}`);
    const isFilling = Math.max(after, ...also.map((index) => index + 1)) <= filled;
    t.true(slot === "a" || !isFilling, where);
    for (const name of readdirSync(join(played, slot))) {
      const whole = readFileSync(join(played, slot, name), "utf8");
      t.true(read(`${slot}/${name}`) === whole, `${where}: ${slot}/${name}`);
    }
    found[slot]++;
  }
  t.log(`${points.length} cuts in ${writes.writes.length} writes: ${found.a} old, ${found.b} new`);
  t.true(found.a > 0 && found.b > 0);
});
