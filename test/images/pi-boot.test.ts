/** What a Raspberry Pi's firmware reads of an image, and config.txt in one sector. */

import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import test, { type ExecutionContext } from "ava";
import { parseImageDigest } from "#protocol/brand.ts";
import { createLibrary } from "../../images/library.ts";
import { piCommandLine, readPiBoot, slotConfig } from "../../images/pi-boot.ts";
import { extractPiBoot } from "../../images/pi-boot-files.ts";
import { openSite } from "../../server/enrol/authority.ts";
import { ImageInvalidError } from "../../server/errors.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { type TarEntry, tarOf } from "./tar.ts";

type Files = Readonly<Record<string, string>>;

const debian: Files = {
  "boot/firmware/bootcode.bin": "code",
  "boot/firmware/start4.elf": "start",
  "boot/vmlinuz-6.1.0-9-arm64": "older",
  "boot/vmlinuz-6.1.0-12-arm64": "kernel",
  "boot/initrd.img-6.1.0-12-arm64": "initrd",
  "usr/lib/linux-image-6.1.0-12-arm64/broadcom/bcm2711-rpi-4-b.dtb": "tree",
  "usr/lib/linux-image-6.1.0-12-arm64/broadcom/bcm53016-meraki-mr32.dtb": "no Pi",
  "etc/os-release": "ID=debian\n",
};
const vendor: Files = {
  "boot/firmware/start4.elf": "start",
  "boot/firmware/fixup4.dat": "fixup",
  "boot/firmware/config.txt":
    "# audio\ndtparam=audio=on\n\n[pi4]\narm_boost=1\n[all]\nauto_initramfs=1\n",
  "boot/firmware/cmdline.txt": "root=PARTUUID=of-the-maker",
  "boot/firmware/LICENCE.broadcom": "licence",
  "boot/firmware/armstub8.bin": "stub",
  "boot/firmware/kernel8.img": "kernel",
  "boot/firmware/kernel_2712.img": "kernel of a Pi 5",
  "boot/firmware/initramfs8": "initramfs",
  "boot/firmware/bcm2711-rpi-4-b.dtb": "tree",
  "boot/firmware/overlays/README": "",
  "boot/firmware/overlays/vc4-kms-v3d.dtbo": "overlay",
  "etc/os-release": "ID=raspbian\n",
};
/** Of a node that ran slot b. */
const captured: Files = {
  "boot/firmware/start4.elf": "start",
  "boot/firmware/marcoboot-layout.json": "{}",
  "boot/firmware/config.txt": "os_prefix=b/\nkernel=kernel8.img\n\n\n",
  "boot/firmware/a/kernel8.img": "of slot a",
  "boot/firmware/b/kernel8.img": "of slot b",
  "boot/firmware/b/config.txt": "os_prefix=b/\nkernel=kernel8.img\n\n\n",
  "boot/firmware/b/overlays/README": "",
  "etc/os-release": "ID=debian\n",
};

function treeOf(t: ExecutionContext, files: Files): string {
  const tree = temporaryDirectory(t);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    writeFileSync(join(tree, path), content);
  }
  return tree;
}

const boots = [
  [
    "Debian's kernel beside the firmware",
    debian,
    ["bootcode.bin", "start4.elf"],
    ["kernel8.img=kernel", "initrd.img=initrd", "bcm2711-rpi-4-b.dtb=tree"],
    [
      ...["arm_64bit=1", "enable_uart=1", "upstream_kernel=1", "kernel=kernel8.img"],
      "initramfs initrd.img followkernel",
    ],
  ],
  [
    "Raspberry Pi's own",
    vendor,
    ["LICENCE.broadcom", "armstub8.bin", "fixup4.dat", "start4.elf"],
    [
      ...["bcm2711-rpi-4-b.dtb=tree", "initramfs8=initramfs", "kernel8.img=kernel"],
      ...["kernel_2712.img=kernel of a Pi 5", "overlays/README="],
      "overlays/vc4-kms-v3d.dtbo=overlay",
    ],
    ["dtparam=audio=on", "[pi4]", "arm_boost=1", "[all]", "auto_initramfs=1"],
  ],
  [
    "a kernel and an initramfs of other names",
    {
      "boot/firmware/config.txt": "kernel=vmlinuz\ninitramfs one.gz,two.gz followkernel\n",
      "boot/firmware/vmlinuz": "kernel",
      "boot/firmware/one.gz": "1",
      "boot/firmware/two.gz": "2",
    },
    [],
    ["one.gz=1", "two.gz=2", "vmlinuz=kernel"],
    ["kernel=vmlinuz", "initramfs one.gz,two.gz followkernel"],
  ],
  [
    "a captured system, of the slot it ran from",
    captured,
    ["start4.elf"],
    ["kernel8.img=of slot b", "overlays/README="],
    ["kernel=kernel8.img"],
  ],
] as const;
for (const [title, files, firmware, system, settings] of boots) {
  test(`boot files: ${title}`, (t) => {
    const boot = readPiBoot(treeOf(t, files));
    if (typeof boot === "string") return t.fail(boot);
    t.deepEqual([...boot.firmware.keys()], firmware);
    t.deepEqual(
      [...boot.system].map(([name, path]) => `${name}=${readFileSync(path, "utf8")}`),
      system,
    );
    t.deepEqual(boot.settings, settings);
  });
}

test("a tree without a kernel says so, and a link is no boot file", (t) => {
  t.is(readPiBoot(treeOf(t, { "etc/os-release": "" })), "the image has no /boot/vmlinuz-*");
  const without = treeOf(t, { "boot/firmware/config.txt": "kernel=kernel8.img\n" });
  symlinkSync("/etc/hostname", join(without, "boot/firmware/kernel8.img"));
  t.is(
    readPiBoot(without),
    "/boot/firmware of the image has a config.txt, and no kernel beside it",
  );
});

// config_txt/boot.adoc, "os_prefix": directory prefixes include the slash; a line has at most 98 characters.
test("config.txt of a slot is one sector that begins with its prefix", (t) => {
  const sector = slotConfig({ settings: ["kernel=kernel8.img", "[pi4]", "arm_boost=1"] }, "b");
  if (typeof sector === "string") return t.fail(sector);
  t.is(sector.length, 512);
  t.is(
    sector.toString().trimEnd(),
    "# by marcoboot: this root slot boots\nos_prefix=b/\nkernel=kernel8.img\n[pi4]\narm_boost=1",
  );
  t.regex(sector.toString(), /\n+$/);
});

const unfit = [
  [
    "too long",
    [`dtparam=${"x".repeat(480)}`],
    /octets too many: two root slots need it in one sector/,
  ],
  ["of several files", ["include usercfg.txt"], /includes other files/],
] as const;
for (const [title, settings, reason] of unfit) {
  test(`config.txt ${title} is no slot's`, (t) => {
    t.regex(String(slotConfig({ settings }, "a")), reason);
  });
}

test("the root is named by its partition; a slot's kernel restarts after a panic", (t) => {
  const line = "console=serial0,115200 console=tty1 root=PARTUUID=0a0b0c0d-03 rootfstype=ext4";
  t.is(piCommandLine("0a0b0c0d-03", "b"), `${line} rootwait ro panic=30`);
  t.is(piCommandLine("0a0b0c0d-03", undefined), `${line} rootwait ro`);
});

const entriesOf = (files: Files): readonly TarEntry[] =>
  Object.entries(files).map(([path, content]) => ({ path: `./${path}`, content }));
const contentsOf = (directory: string) =>
  Object.fromEntries(
    readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name))
      .map((path) => [path.slice(directory.length + 1), readFileSync(path, "utf8")]),
  );

async function extracted(t: ExecutionContext, entries: readonly TarEntry[]): Promise<string> {
  const directory = temporaryDirectory(t);
  const path = join(directory, "image");
  writeFileSync(path, zstdCompressSync(tarOf(entries)));
  await extractPiBoot({ path, compression: "zstd" }, join(directory, "boot"));
  return join(directory, "boot");
}

test("boot files are taken out of an archive, hard links among them, links and devices not", async (t) => {
  const kernel = "boot/vmlinuz-6.1.0-12-arm64";
  const directory = await extracted(t, [
    ...entriesOf(debian),
    { path: "./boot/vmlinuz-6.1.0-13-arm64", type: "1", link: `./${kernel}` },
    { path: "./boot/vmlinuz-9-arm64", type: "2", link: "/etc/shadow" },
    { path: "./boot/vmlinuz-8-arm64", type: "3" },
  ]);
  t.deepEqual(contentsOf(directory), {
    "config.txt": "arm_64bit=1\nenable_uart=1\nupstream_kernel=1\nkernel=kernel8.img\n",
    "kernel8.img": "kernel",
  });
});

const refused = [
  ["no kernel", { "etc/os-release": "" }, /no \/boot\/vmlinuz/],
  [
    "settings that no sector holds",
    { ...vendor, "boot/firmware/config.txt": `dtparam=${"y".repeat(600)}\n` },
    /octets too many/,
  ],
] as const;
for (const [title, files, message] of refused) {
  test(`an image with ${title} cannot be tried, and its push says so`, async (t) => {
    await t.throwsAsync(extracted(t, entriesOf(files)), { instanceOf: ImageInvalidError, message });
  });
}

test("the library keeps boot files beside an image with slots, and makes them again", async (t) => {
  const root = temporaryDirectory(t);
  const store = openSqliteStore(":memory:");
  const site = await openSite(join(root, "keys"));
  const events = createEventBus(silentLog);
  const clock = createFakeClock();
  const directory = join(root, "images");
  const open = () => createLibrary({ directory, store, site, clock, log: silentLog, events });
  const library = open();
  t.teardown(() => store.close());
  const path = join(root, "upload");
  writeFileSync(path, tarOf(entriesOf(vendor)));
  const request = { path, name: "pi", architecture: "arm64", bootloader: "raspberry-pi" } as const;
  const { digest } = await library.add({ ...request, slots: { rootMiB: 512, data: "/srv" } });
  const made = contentsOf(library.bootFilesOf(digest));
  t.is(made["kernel8.img"], "kernel");
  t.is(made["overlays/vc4-kms-v3d.dtbo"], "overlay");
  t.is(made["armstub8.bin"], "stub");
  for (const name of ["cmdline.txt", "start4.elf"]) t.false(name in made);
  await library.close();
  rmSync(library.bootFilesOf(digest), { recursive: true });
  const again = open();
  await again.close(); // waits for what is under way
  t.deepEqual(contentsOf(again.bootFilesOf(digest)), made);

  writeFileSync(path, tarOf(entriesOf(debian)));
  const third = open();
  const plain = await third.add(request);
  t.throws(() => readdirSync(third.bootFilesOf(parseImageDigest(plain.digest))));
  await third.close();
});
