/**
 * Real GRUB on a real BIOS, from a disk that is laid out as an install does it: which root slot it
 * goes on with, and what it writes. The slots hold a configuration that says its name, no system.
 */

import { spawn, spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { embedGrub, switchLabel } from "../../netinst/steps/bootloader.ts";
import { layOut, type Volume } from "../../netinst/steps/disk-layout.ts";
import {
  environmentBlock,
  environmentFile,
  parseEnvironment,
  slotConfiguration,
} from "../../netinst/steps/grub-switch.ts";
import type { SlotChoice } from "../../netinst/steps/slot-choice.ts";
import { tethered } from "../../scripts/lab/command.ts";
import { cacheDirectory } from "../../scripts/setup.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const mebibyte = 1 << 20;
const grub = (name: string) => readFileSync(join(cacheDirectory, "grub", name));

function run(command: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, [...args]);
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr} ${error ?? ""}`);
}

/** Says on the serial line who it is, and waits for its power to be cut. */
const slotSays = (slot: string) => `serial --unit=0
terminal_output serial
echo "this is slot ${slot}"
sleep 3600
`;

async function makeDisk(t: ExecutionContext, choice: SlotChoice) {
  const directory = temporaryDirectory(t);
  const disk = join(directory, "disk");
  const size = 600 * mebibyte;
  const tree = { architecture: "amd64", bootloader: "grub", sizeBytes: mebibyte } as const;
  const layout = layOut(size, { ...tree, slots: { rootMiB: 160, data: "/srv" } });
  const { root, second, boot, table } = layout;
  if (!second || !table.backup) throw new Error("no second slot");
  embedGrub(table.head, grub("boot.img"), grub("core.img"));
  writeFileSync(disk, "");
  truncateSync(disk, size);
  const file = openSync(disk, "r+");
  writeSync(file, table.head, 0, table.head.length, 0);
  writeSync(file, table.backup, 0, table.backup.length, size - table.backup.length);
  const place = (image: string, { offset }: Volume) => {
    const bytes = readFileSync(image);
    writeSync(file, bytes, 0, bytes.length, offset);
  };
  for (const volume of [root, second]) {
    const files = join(directory, volume.name);
    const path = join(files, "boot/grub/grub.cfg");
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, slotSays(volume.name.slice(-1)));
    const image = `${files}.img`;
    run("mke2fs", ["-q", "-t", "ext4", "-U", volume.id, "-d", files, image, "16m"]);
    place(image, volume);
  }
  const fat = join(directory, "boot.img");
  writeFileSync(fat, "");
  truncateSync(fat, boot.length);
  run("mkfs.vfat", ["-F", "32", "-s", "1", "-n", switchLabel, fat]);
  run("mmd", ["-i", fat, "::boot", "::boot/grub"]);
  for (const [name, content] of [
    [environmentFile, environmentBlock(choice)],
    ["boot/grub/grub.cfg", slotConfiguration({ a: root.id, b: second.id })],
  ] as const) {
    const path = join(directory, "file");
    await writeFile(path, content);
    run("mcopy", ["-o", "-i", fat, path, `::${name}`]);
  }
  place(fat, boot);
  closeSync(file);
  const environment = (): SlotChoice => {
    const out = join(directory, "grubenv");
    run("mcopy", ["-n", "-i", `${disk}@@${boot.offset}`, `::${environmentFile}`, out]);
    return parseEnvironment(readFileSync(out));
  };
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return { disk, environment };
}

/** From power-on until it says which slot it goes on with; then its power is cut. */
async function boot(disk: string): Promise<string> {
  const drive = `file=${disk},format=raw,if=virtio,cache=unsafe`;
  const [command, args] = tethered("qemu-system-x86_64", [
    ...["-M", "pc", "-accel", "tcg", "-m", "128", "-nodefaults", "-display", "none"],
    ...["-net", "none", "-serial", "stdio", "-drive", drive],
  ]);
  const machine = spawn(command, args);
  let late: NodeJS.Timeout | undefined;
  try {
    return await new Promise<string>((resolve, reject) => {
      let said = "";
      late = setTimeout(() => reject(new Error(`no slot after 3 minutes: ${said}`)), 180_000);
      machine.stdout.on("data", (part: Buffer) => {
        said += part.toString("latin1");
        const slot = /this is slot ([ab])/.exec(said)?.[1];
        if (slot !== undefined) resolve(slot);
      });
      machine.once("exit", () => reject(new Error(`the machine ended: ${said}`)));
    });
  } finally {
    clearTimeout(late);
    machine.kill("SIGKILL");
  }
}

test("GRUB tries a slot once: the boot after is the one that stays", async (t) => {
  const { disk, environment } = await makeDisk(t, { active: "a", tried: "b" });
  t.is(await boot(disk), "b");
  t.deepEqual(environment(), { active: "a" });
  t.is(await boot(disk), "a");
  t.is(await boot(disk), "a");
});

test("what was confirmed boots from then on", async (t) => {
  const { disk } = await makeDisk(t, { active: "b" });
  t.is(await boot(disk), "b");
  t.is(await boot(disk), "b");
});

test("where the environment cannot be written, nothing is tried", async (t) => {
  const { disk, environment } = await makeDisk(t, { active: "a", tried: "b" });
  const broken = join(temporaryDirectory(t), "blkdebug");
  await writeFile(
    broken,
    '[inject-error]\nevent = "pwritev"\niotype = "write"\nerrno = "5"\nonce = "off"\n',
  );
  const failing = `blkdebug:${broken}:${disk}`;
  t.is(await boot(failing), "a");
  t.deepEqual(environment(), { active: "a", tried: "b" });
});
