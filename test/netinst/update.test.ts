/** Root slots: how a disk is laid out, which slot boots, what is carried over, and what a simulated node ends with. */

import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { TaskId } from "#protocol/brand.ts";
import type { ImageManifest } from "#protocol/image.ts";
import { openDisk } from "../../netinst/disk.ts";
import { InstallRefusedError } from "../../netinst/errors.ts";
import { parsePartitionTable } from "../../netinst/partition-table.ts";
import { confirmSystem } from "../../netinst/steps/confirm.ts";
import {
  type Bootloader,
  layOut,
  layoutText,
  parseLayout,
} from "../../netinst/steps/disk-layout.ts";
import {
  environmentBlock,
  parseEnvironment,
  slotConfiguration,
} from "../../netinst/steps/grub-switch.ts";
import { installTar } from "../../netinst/steps/install-tar.ts";
import { systemPath, systemText, trialFile } from "../../netinst/steps/installed-system.ts";
import { copyKept } from "../../netinst/steps/kept-paths.ts";
import { readChoice, writeChoice } from "../../netinst/steps/slot-switch.ts";
import { updateSlot } from "../../netinst/steps/update.ts";
import { makeSmallTree } from "../../scripts/lab/small-image.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { describeImage, recordConsole, serveImage } from "./support.ts";

const mebibyte = 1 << 20;
const { signal } = new AbortController();

// GRUB 2.12 manual, §"The GRUB environment block": a fixed length, lines of name=value, then `#`.
test("the environment block is one sector that GRUB reads", (t) => {
  const block = environmentBlock({ active: "a", tried: "b" });
  t.is(block.length, 512);
  t.is(block.toString("latin1", 0, 40), "# GRUB Environment Block\nslot=a\ntry=b\n##");
  t.true(block.subarray(40).every((octet) => octet === 0x23));
  t.deepEqual(parseEnvironment(block), { active: "a", tried: "b" });
  t.deepEqual(parseEnvironment(environmentBlock({ active: "b" })), { active: "b" });
});

const hasEditor = spawnSync("grub-editenv", ["--version"]).status === 0;
(hasEditor ? test : test.skip)(
  `GRUB's own editor reads and writes the same block${hasEditor ? "" : " (no grub-editenv here)"}`,
  (t) => {
    const path = join(temporaryDirectory(t), "grubenv");
    writeFileSync(path, environmentBlock({ active: "a", tried: "b" }));
    const editor = (...words: readonly string[]) => spawnSync("grub-editenv", [path, ...words]);
    t.is(String(editor("list").stdout), "slot=a\ntry=b\n");
    editor("set", "try=");
    t.deepEqual(parseEnvironment(readFileSync(path)), { active: "a" });
  },
);

for (const text of ["", "# GRUB Environment Block\nslot=c\n", "slot=a\n"]) {
  test(`a block of ${JSON.stringify(text)} names no slot`, (t) => {
    t.throws(() => parseEnvironment(Buffer.from(text)), { instanceOf: InstallRefusedError });
  });
}

test("GRUB forgets what is to be tried before it boots it, and boots the other where it cannot", (t) => {
  const lines = slotConfiguration({ a: "uuid-a", b: "uuid-b" }).split("\n");
  const at = (text: string) => lines.findIndex((line) => line.includes(text));
  t.true(at("set try=") < at("save_env try"));
  t.true(at("if save_env try; then") < at('set slot="$once"'));
  t.true(at('set slot="$once"') < at("configfile"));
});

const tree = {
  architecture: "amd64",
  bootloader: "grub",
  sizeBytes: 10 * mebibyte,
  slots: { rootMiB: 200, data: "/srv" },
} as const;
const onPi = { architecture: "arm64", bootloader: "raspberry-pi" } as const;
const layouts = [
  ["room for two", tree, 600, ["boot", "root-a", "root-b", "data"]],
  ["too small for two", tree, 500, ["boot", "root"]],
  ["no slots asked for", { ...tree, slots: undefined }, 600, ["boot", "root"]],
  ["arm64", { ...tree, architecture: "arm64" }, 600, ["boot", "root-a", "root-b", "data"]],
  ["Raspberry Pi", { ...tree, ...onPi }, 800, ["boot", "root-a", "root-b", "data"]],
  ["Raspberry Pi, too small for two", { ...tree, ...onPi }, 700, ["boot", "root"]],
] as const;
for (const [title, wanted, diskMiB, names] of layouts) {
  test(`a disk's layout: ${title}`, (t) => {
    const { slots, ...rest } = wanted;
    const layout = layOut(diskMiB * mebibyte, { ...rest, ...(slots && { slots }) });
    const { boot, root, second, data } = layout;
    const volumes = [boot, root, second, data].filter((one) => one !== undefined);
    t.deepEqual(
      volumes.map(({ name }) => name),
      names,
    );
    for (const [index, { offset }] of volumes.entries()) {
      const before = volumes[index - 1];
      t.true(before === undefined || before.offset + before.length <= offset);
    }
    const last = volumes.at(-1);
    t.true((last?.offset ?? 0) + (last?.length ?? 0) <= diskMiB * mebibyte);
    if (data) t.deepEqual(parseLayout(layoutText(layout), layout.table.head).data, data);
  });
}

test("a layout whose partitions lie elsewhere by now is refused", (t) => {
  const [one, other] = [layOut(600 * mebibyte, tree), layOut(700 * mebibyte, tree)];
  const text = layoutText(one);
  t.throws(() => parseLayout(text, other.table.head), { message: /data is not where/ });
  t.throws(() => parseLayout("{}", one.table.head), { message: /tells no two root slots/ });
});

function put(root: string, path: string, content: string, mode = 0o644): string {
  const at = join(root, path);
  mkdirSync(dirname(at), { recursive: true });
  writeFileSync(at, content);
  chmodSync(at, mode);
  return at;
}

test("kept paths replace what is there: modes, times, links; nothing outside is reached", async (t) => {
  const [from, to] = [join(temporaryDirectory(t), "from"), join(temporaryDirectory(t), "to")];
  const outside = temporaryDirectory(t);
  put(outside, "secret", "of this machine");
  const file = put(from, "etc/app/settings", "own", 0o4750);
  utimesSync(file, 1000, 2000);
  linkSync(file, join(from, "etc/app/same"));
  symlinkSync("/absolute", join(from, "etc/app/link"));
  symlinkSync(outside, join(from, "out"));
  put(to, "etc/app/of-the-image", "new");
  put(to, "etc/other", "stays");
  const kept = await copyKept(from, to, ["/etc/app", "/not/there", "/out/secret"], signal);
  t.deepEqual(kept, [
    { path: "/etc/app", count: 3 },
    { path: "/not/there", count: undefined },
    { path: "/out/secret", count: undefined },
  ]);
  const settings = statSync(join(to, "etc/app/settings"));
  t.is(settings.mode & 0o7777, 0o4750);
  t.is(settings.mtimeMs, 2_000_000);
  t.is(statSync(join(to, "etc/app/same")).ino, settings.ino);
  t.is(readlinkSync(join(to, "etc/app/link")), "/absolute");
  t.false(existsSync(join(to, "etc/app/of-the-image")));
  t.is(readFileSync(join(to, "etc/other"), "utf8"), "stays");
  t.false(existsSync(join(to, "not")));
});

test("a new system whose image leads a kept path outside refuses, and nothing outside is written", async (t) => {
  const [from, to] = [join(temporaryDirectory(t), "from"), join(temporaryDirectory(t), "to")];
  const outside = temporaryDirectory(t);
  put(from, "etc/app/settings", "own");
  mkdirSync(to);
  symlinkSync(outside, join(to, "etc"));
  const error = await t.throwsAsync(copyKept(from, to, ["/etc/app"], signal), {
    instanceOf: InstallRefusedError,
  });
  t.is(error?.message, "/etc/app cannot be kept");
  t.false(existsSync(join(outside, "app")));
});

/**
 * A simulated node's disk with a system in slot a, and what updates it. One after the other: a process
 * reads one disk at a time, always into the same memory.
 */
async function installed(
  t: ExecutionContext,
  bootloader: Bootloader = "grub",
  more: Readonly<Record<string, string>> = {},
  diskMiB = 700,
) {
  const directory = temporaryDirectory(t);
  const path = join(directory, "disk");
  const sizeBytes = diskMiB * mebibyte;
  writeFileSync(path, "");
  truncateSync(path, sizeBytes);
  const disk = await openDisk({ name: "disk", sizeBytes, removable: false }, path);
  t.teardown(() => disk.close());
  const console = recordConsole();
  const reporter = { progress: () => undefined };
  const slots = { rootMiB: 160, data: "/srv" };
  const from = async <T>(archive: string, work: (manifest: Writing) => Promise<T>): Promise<T> => {
    const bytes = readFileSync(archive);
    const server = await serveImage(bytes);
    const manifest: ImageManifest = {
      ...describeImage(bytes, bytes, "none"),
      ...{ format: "rootfs-tar", bootloader, slots },
    };
    const source = { url: server.url, ticket: "good-ticket", manifest, console };
    try {
      return await work({ disk, source, reporter, console, playedDisk: path });
    } finally {
      await server.close();
    }
  };
  const first = makeSmallTree(directory, "one", more);
  const made = await from(first, (writing) =>
    installTar({ ...writing, configure: () => [] }, signal),
  );
  return { directory, path, from, made };
}
type Writing = Omit<Parameters<typeof installTar>[0], "configure">;

test.serial(
  "a simulated node is updated in its other slot; until the last sector nothing boots otherwise",
  async (t) => {
    const { directory, path, from, made } = await installed(t);
    t.like(made.slots, { active: "a", data: "/srv", bootloader: "grub" });
    put(`${path}.root-a`, "etc/app/settings", "own");
    const second = makeSmallTree(directory, "two");
    const stopped = new AbortController();
    const configure = () => {
      stopped.abort(new Error("the power goes"));
      return [];
    };
    await t.throwsAsync(
      from(second, (writing) => updateSlot({ ...writing, keep: [], configure }, stopped.signal)),
    );
    t.deepEqual(readChoice(`${path}.boot`), { active: "a" });

    await from(second, (writing) =>
      updateSlot({ ...writing, keep: ["/etc/app"], configure: () => [] }, signal),
    );
    t.deepEqual(readChoice(`${path}.boot`), { active: "a", tried: "b" });
    t.is(readFileSync(`${path}.root-b/etc/os-release`, "utf8"), "ID=two\n");
    t.is(readFileSync(`${path}.root-b/etc/app/settings`, "utf8"), "own");
    t.is(readFileSync(`${path}.root-a/etc/os-release`, "utf8"), "ID=one\n");

    // An update that begins anew takes back what was to be tried before it touches that slot.
    const broken = makeSmallTree(directory, "three", {
      "etc/app": "a file where a directory is kept",
    });
    await t.throwsAsync(
      from(broken, (writing) => updateSlot({ ...writing, keep: [], configure }, stopped.signal)),
    );
    t.deepEqual(readChoice(`${path}.boot`), { active: "a" });
  },
);

test.serial(
  "the new system confirms itself, again and again without harm; one without a slot cannot",
  async (t) => {
    const { path } = await installed(t);
    const identityDirectory = join(temporaryDirectory(t), "marcoboot", "identity");
    mkdirSync(identityDirectory, { recursive: true });
    const settings = { identityDirectory, simulate: true, diskFile: path };
    const system = {
      image: describeImage(Buffer.of(), Buffer.of(), "none").digest,
      madeBy: "t" as TaskId,
    };
    writeFileSync(systemPath(identityDirectory), systemText(system));
    await t.throwsAsync(confirmSystem(settings), { message: /does not know its root slot/ });
    writeFileSync(systemPath(identityDirectory), systemText({ ...system, slot: "b" }));
    const trial = put(dirname(identityDirectory), trialFile, "600\n");
    writeChoice(`${path}.boot`, { active: "a", tried: "b" });
    for (let time = 0; time < 2; time++) {
      await confirmSystem(settings);
      t.deepEqual(readChoice(`${path}.boot`), { active: "b" });
      t.is(lstatSync(trial, { throwIfNoEntry: false }), undefined);
    }
  },
);

/** What a boot partition holds, but for the layout's identifiers. */
const bootFiles = {
  "boot/firmware/start4.elf": "firmware of an install",
  "boot/initrd.img-1": "initrd",
  "usr/lib/linux-image-1/broadcom/bcm2711-rpi-4-b.dtb": "device tree",
};

test.serial(
  "a Raspberry Pi's card has boot files for each slot, and config.txt says which boot",
  async (t) => {
    const { directory, path, from, made } = await installed(t, "raspberry-pi", bootFiles);
    const boot = (name: string) => readFileSync(join(`${path}.boot`, name), "utf8");
    const { roots } = made.slots ?? {};
    const partitions = parsePartitionTable(readFileSync(path).subarray(0, mebibyte))?.partitions;
    t.like(made.slots, { active: "a", bootloader: "raspberry-pi", data: "/srv" });
    t.deepEqual(
      partitions?.map(({ type }) => type),
      ["0c", "83", "83", "83"],
    );
    t.deepEqual([roots?.a, roots?.b], [partitions?.[1]?.uuid, partitions?.[2]?.uuid]);
    t.deepEqual(readChoice(`${path}.boot`), { active: "a" });
    t.regex(boot("config.txt"), /^# .*\nos_prefix=a\/\narm_64bit=1\n/);
    t.is(boot("config.txt").length, 512);
    t.is(boot("start4.elf"), "firmware of an install");
    t.is(boot("a/kernel8.img"), "kernel of one\n");
    t.is(boot("a/bcm2711-rpi-4-b.dtb"), "device tree");
    t.regex(boot("a/cmdline.txt"), new RegExp(`root=PARTUUID=${roots?.a} .* panic=30\n$`));

    const second = makeSmallTree(directory, "two", {
      ...bootFiles,
      "boot/firmware/start4.elf": "firmware of an update",
    });
    const before = boot("config.txt");
    await from(second, (writing) =>
      updateSlot({ ...writing, keep: [], configure: () => [] }, signal),
    );
    t.is(boot("config.txt"), before, "its next boot by itself is the old system");
    t.is(boot("a/kernel8.img"), "kernel of one\n");
    t.is(boot("b/kernel8.img"), "kernel of two\n");
    t.is(boot("start4.elf"), "firmware of an install", "shared by both slots");
    t.regex(boot("b/cmdline.txt"), new RegExp(`root=PARTUUID=${roots?.b} `));

    writeChoice(`${path}.boot`, { active: "b" });
    t.deepEqual(readChoice(`${path}.boot`), { active: "b" });
    t.is(boot("config.txt"), boot("b/config.txt"));
    t.is(boot("config.txt").replace("os_prefix=b/", "os_prefix=a/"), before);
  },
);

test.serial(
  "a Raspberry Pi's card with one root has its boot files where the firmware looks by itself",
  async (t) => {
    const { path, made } = await installed(t, "raspberry-pi", bootFiles, 512);
    const boot = (name: string) => readFileSync(join(`${path}.boot`, name), "utf8");
    t.is(made.slots, undefined);
    t.is(boot("kernel8.img"), "kernel of one\n");
    t.is(boot("start4.elf"), "firmware of an install");
    t.regex(
      boot("config.txt"),
      /^arm_64bit=1\nenable_uart=1\nupstream_kernel=1\nkernel=kernel8.img\ninitramfs initrd.img /,
    );
    t.regex(boot("cmdline.txt"), /root=PARTUUID=[0-9a-f]{8}-02 rootfstype=ext4 rootwait ro\n$/);
    t.throws(() => readChoice(`${path}.boot`), { message: /no two root slots/ });
  },
);

test.serial("a card whose config.txt somebody changed is not updated", async (t) => {
  const { path } = await installed(t, "raspberry-pi");
  const config = join(`${path}.boot`, "config.txt");
  writeFileSync(config, `${readFileSync(config, "utf8").trimEnd()}\ngpu_mem=16\n`);
  t.throws(() => readChoice(`${path}.boot`), {
    instanceOf: InstallRefusedError,
    message: /somebody changed config.txt .* copy a\/config.txt over it/,
  });
  writeFileSync(config, "kernel=kernel8.img\n");
  t.throws(() => readChoice(`${path}.boot`), { message: /config.txt .* names no root slot/ });
});

test.serial(
  "the table of a disk with two root slots is the same before and after an update",
  async (t) => {
    const { directory, path, from } = await installed(t);
    const before = readFileSync(path).subarray(0, mebibyte);
    await from(makeSmallTree(directory, "two"), (writing) =>
      updateSlot({ ...writing, keep: [], configure: () => [] }, signal),
    );
    t.true(readFileSync(path).subarray(0, mebibyte).equals(before));
    t.is(parsePartitionTable(before)?.partitions.length, 5);
  },
);
