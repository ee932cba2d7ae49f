/** The demonstration's parts that need no virtual rack. */

import { execFileSync } from "node:child_process";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { createPermits } from "../scripts/demo/permits.ts";
import { groupsOf, type ImageFile } from "../scripts/demo/scenario.ts";
import { nextVersionOf, withSecondVersions } from "../scripts/demo/versions.ts";
import type { GuestFirmware } from "../scripts/lab/qemu.ts";
import type { LabNode } from "../scripts/lab/virtual-rack.ts";
import { temporaryDirectory } from "./support/temporary.ts";

const node = (outlet: string, firmware: GuestFirmware): LabNode => {
  const [stack = "", slot = ""] = outlet;
  return { outlet, stack, slot, hostname: outlet, guest: { firmware } as LabNode["guest"] };
};

test("nodes of a stack that get one image are a group", (t) => {
  const nodes = [
    node("a1", "bios"),
    node("a2", "uefi-x64"),
    node("b1", "uefi-arm64"),
    node("b2", "raspberry-pi-3"),
  ];
  t.deepEqual(
    groupsOf(nodes).map((group) => [group.image, ...group.nodes.map(({ outlet }) => outlet)]),
    [
      ["debian-minbase-amd64", "a1", "a2"],
      ["debian-minbase-arm64", "b1"],
      ["debian-minbase-raspberry-pi", "b2"],
    ],
  );
});

test("an image of several nodes gets a second version: the same, and files of root's besides", async (t) => {
  const directory = temporaryDirectory(t);
  mkdirSync(join(directory, "tree", "etc"), { recursive: true });
  writeFileSync(join(directory, "tree", "etc", "hostname"), "first\n");
  const tree = join(directory, "first.tar.zst");
  execFileSync("tar", ["--zstd", "-C", join(directory, "tree"), "-cf", tree, "."]);
  const disk: ImageFile = {
    ...{ path: "disk.img.zst", format: "raw", architecture: "amd64", bootloader: "grub" },
  };
  const images = new Map([
    ["debian-minbase-amd64", disk],
    ["debian-minbase-arm64", disk],
  ]);
  const trees = new Map([...images.keys()].map((name) => [name, tree]));
  const make = () =>
    withSecondVersions(
      images,
      trees,
      ["bios", "uefi-x64", "uefi-arm64"],
      new Map([["etc/app-version", "2\n"]]),
    );
  const all = await make();
  t.is(all.get("debian-minbase-arm64"), disk);
  t.like(all.get("debian-minbase-amd64"), { path: tree, format: "rootfs-tar", rootMiB: 640 });
  const second = all.get(nextVersionOf("debian-minbase-amd64"))?.path ?? "";
  const tar = (...words: string[]) => execFileSync("tar", [...words, "-f", second]).toString();
  t.is(tar("--zstd", "-xO", "./etc/app-version"), "2\n");
  t.is(tar("--zstd", "-xO", "./etc/hostname"), "first\n");
  t.regex(tar("--zstd", "--numeric-owner", "-tv"), / 0\/0 .* \.\/etc\/app-version$/m);
  const { mtimeMs } = statSync(second);
  t.is((await make()).get("debian-minbase-amd64-2")?.path, second);
  t.is(statSync(second).mtimeMs, mtimeMs, "it is made once");
});

test("who wants more cores than there are gets all of them; the others wait their turn", async (t) => {
  const permits = createPermits(2);
  const order: string[] = [];
  const work = (name: string, wanted: number) =>
    permits.holding(wanted, async () => {
      order.push(`${name} begins`);
      await Promise.resolve();
      order.push(`${name} ends`);
    });
  await Promise.all([work("three", 3), work("one", 1), work("two", 2)]);
  t.deepEqual(order, [
    ...["three begins", "three ends"],
    ...["one begins", "one ends"],
    ...["two begins", "two ends"],
  ]);
});
