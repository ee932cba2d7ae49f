/** Installs into a file with real loop devices, file systems and tools. Needs root. */

import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { ImageTicket } from "#protocol/agent.ts";
import type { NodeId, TaskId } from "#protocol/brand.ts";
import type { ImageManifest } from "#protocol/image.ts";
import { withLoop, withMount } from "../../netinst/loop.ts";
import { headOctets, parsePartitionTable } from "../../netinst/partition-table.ts";
import type { Site } from "../../netinst/settings.ts";
import { install, updateNode, type WriteContext } from "../../netinst/steps/install.ts";
import { readChoice } from "../../netinst/steps/slot-switch.ts";
import { compress, describeImage, recordConsole, serveImage, sha256 } from "../netinst/support.ts";

const mebibyte = 1 << 20;
const mac = "52:54:00:12:34:56";
const site: Site = {
  serverKey: randomBytes(32).toString("base64"),
  discovery: { group: "239.77.65.82", port: 1337 },
};

function command(program: string, args: readonly string[], input?: string): string {
  const { status, stdout, stderr, error } = spawnSync(program, [...args], { input: input ?? "" });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr} ${error ?? ""}`);
  return String(stdout);
}

function put(root: string, path: string, content = "", mode = 0o644): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content, { mode });
  chmodSync(join(root, path), mode);
}

/** A tree with everything that configuring looks at. */
function makeTree(root: string): void {
  put(root, "etc/hostname", "image\n");
  put(root, "etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\timage\n");
  put(root, "etc/machine-id", "0123456789abcdef0123456789abcdef\n");
  put(root, "etc/ssh/sshd_config", "\n");
  put(root, "etc/ssh/ssh_host_rsa_key", "of the image\n", 0o600);
  put(root, "usr/lib/systemd/system/systemd-networkd.service");
  put(root, "usr/lib/systemd/system/systemd-networkd.socket");
  put(root, "usr/bin/mawk", "program", 0o755);
  put(root, "usr/bin/passwd", "program", 0o4755);
  put(root, "boot/vmlinuz-6.1.0-9-amd64", "old kernel");
  put(root, "boot/vmlinuz-6.1.0-12-amd64", "kernel");
  put(root, "boot/initrd.img-6.1.0-12-amd64", "initrd");
  mkdirSync(join(root, "etc/alternatives"));
  symlinkSync("/usr/bin/mawk", join(root, "etc/alternatives/awk"));
  symlinkSync("usr/lib", join(root, "lib"));
  mkdirSync(join(root, "root"), { mode: 0o700 });
}

const haveVfat =
  spawnSync("modprobe", ["vfat"]).status === 0 ||
  readFileSync("/proc/filesystems", "utf8").includes("\tvfat\n");

/**
 * On a kernel without vfat a directory plays the FAT partition: a `mount` in front of the system's
 * binds it. What the installer puts there is tested; that FAT holds it, only where the kernel can.
 */
function playVfat(directory: string): () => void {
  const bin = join(directory, "bin");
  mkdirSync(join(directory, "fat"));
  mkdirSync(bin);
  const script = `#!/bin/sh
for last; do :; done
if [ "$2" = vfat ]; then exec /bin/mount --bind ${directory}/fat "$last"; fi
exec /bin/mount "$@"
`;
  writeFileSync(join(bin, "mount"), script, { mode: 0o755 });
  const before = process.env["PATH"];
  process.env["PATH"] = `${bin}:${before}`;
  return () => {
    process.env["PATH"] = before;
  };
}

interface Laboratory {
  readonly directory: string;
  readonly disk: string;
  run(plain: Buffer, manifest: Partial<ImageManifest>): Promise<readonly string[]>;
  update(plain: Buffer, manifest: Partial<ImageManifest>, keep: readonly string[]): Promise<void>;
}

async function inLaboratory(
  diskBytes: number,
  work: (laboratory: Laboratory) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "marcoboot-lab-"));
  const disk = join(directory, "disk");
  writeFileSync(disk, "");
  truncateSync(disk, diskBytes);
  const restore = haveVfat ? () => {} : playVfat(directory);
  const agentImage = join(directory, "stage2");
  writeFileSync(agentImage, "squashfs of the agent");
  const withImage = async <T>(
    plain: Buffer,
    more: Partial<ImageManifest>,
    step: (context: WriteContext, image: ImageTicket) => Promise<T>,
  ): Promise<T> => {
    const compression = more.compression ?? "zstd";
    const stored = compress(plain, compression);
    const server = await serveImage(stored);
    const manifest = { ...describeImage(plain, stored, compression), ...more };
    try {
      return await step(
        {
          settings: {
            role: "netinst",
            site,
            architecture: manifest.architecture,
            identityDirectory: join(directory, "identity"),
            interface: "lo",
            mac,
            bootId: "boot",
            diskFile: disk,
            simulate: false,
            agentImage,
            unreachableMs: 1000,
          },
          reporter: {
            ended: new AbortController().signal,
            progress: () => {},
            done: async () => {},
            failed: async () => {},
            close: () => {},
          },
          console: recordConsole(),
          bootUrl: server.url,
          identity: { key: "KEY\n", certificate: "CERTIFICATE\n" },
        },
        { image: { ...manifest, signature: "", url: server.url }, ticket: "good-ticket" },
      );
    } finally {
      await server.close();
    }
  };
  const whom = {
    nodeId: "node_1" as NodeId,
    taskId: "task_1" as TaskId,
    epoch: 1,
    hostname: "r1-a-1.lab",
    authorizedKeys: ["ssh-ed25519 AAAA admin"],
  };
  const { signal } = new AbortController();
  const run: Laboratory["run"] = (plain, more) =>
    withImage(plain, more, async (context, image) => {
      const assignment = { action: "install", ...whom, ...image } as const;
      return (await install({ ...context, assignment }, signal)).sshHostKeys;
    });
  const updateIt: Laboratory["update"] = (plain, more, keep) =>
    withImage(plain, more, async (context, image) => {
      const assignment = {
        ...{ action: "update" as const, ...whom, ...image, keep, trialSeconds: 600, isLast: false },
        ...{ taskId: "task_2" as TaskId, guard: { protectedSerials: [] } },
      };
      await updateNode({ ...context, assignment }, signal);
    });
  try {
    await work({ directory, disk, run, update: updateIt });
  } finally {
    restore();
    rmSync(directory, { recursive: true });
  }
}

function checkConfiguration(
  t: ExecutionContext,
  root: string,
  fingerprints: readonly string[],
): void {
  const text = (path: string) => readFileSync(join(root, path), "utf8");
  const mode = (path: string) => (statSync(join(root, path)).mode & 0o7777).toString(8);
  t.is(text("etc/hostname"), "r1-a-1.lab\n");
  t.is(text("etc/hosts"), "127.0.0.1\tlocalhost\n127.0.1.1\tr1-a-1.lab r1-a-1\n");
  t.is(text("etc/machine-id"), "");
  t.is(text("root/.ssh/authorized_keys"), "ssh-ed25519 AAAA admin\n");
  t.deepEqual([mode("root/.ssh"), mode("root/.ssh/authorized_keys")], ["700", "600"]);
  t.throws(() => statSync(join(root, "etc/ssh/ssh_host_rsa_key")));
  const shown = command("ssh-keygen", ["-lf", join(root, "etc/ssh/ssh_host_ed25519_key.pub")]);
  t.is(shown.split(" ")[1], fingerprints[0]);
  const derived = command("ssh-keygen", ["-yf", join(root, "etc/ssh/ssh_host_ed25519_key")]);
  t.is(derived.split(" ")[1], text("etc/ssh/ssh_host_ed25519_key.pub").split(" ")[1]);
  t.regex(text("etc/systemd/network/10-marcoboot.network"), /MACAddress=52:54:00:12:34:56/);
  const units = "etc/systemd/system";
  const wants = `${units}/multi-user.target.wants`;
  t.is(
    readlinkSync(join(root, wants, "systemd-networkd.service")),
    "/usr/lib/systemd/system/systemd-networkd.service",
  );
  t.is(
    readlinkSync(join(root, wants, "marcoboot-agent.service")),
    `/${units}/marcoboot-agent.service`,
  );
  t.is(text("var/lib/marcoboot/agent.squashfs"), "squashfs of the agent");
  t.is(JSON.parse(text("var/lib/marcoboot/identity/site.json")).mac, mac);
  t.deepEqual(
    [mode("var/lib/marcoboot/identity"), mode("var/lib/marcoboot/identity/node.pem")],
    ["700", "600"],
  );
  t.is(statSync(join(root, "var/lib/marcoboot/identity/node.pem")).uid, 0);
}

function octetsOf(disk: string, offset: number, length: number): Buffer {
  const octets = Buffer.alloc(length);
  const file = openSync(disk, "r");
  readSync(file, octets, 0, length, offset);
  closeSync(file);
  return octets;
}

async function lookInto<T>(
  disk: string,
  number: number,
  type: string,
  work: (root: string) => T,
): Promise<T> {
  const head = octetsOf(disk, 0, headOctets);
  const partition = parsePartitionTable(head)?.partitions.find((one) => one.number === number);
  return await withLoop(disk, partition?.offset ?? 0, (device) =>
    withMount(device, type, async (root) => work(root)),
  );
}

for (const label of ["gpt", "dos"] as const) {
  test.serial(`a raw ${label} image is written, grown, and made this node's own`, async (t) => {
    await inLaboratory(160 * mebibyte, async ({ directory, disk, run }) => {
      const tree = join(directory, "tree");
      makeTree(tree);
      const imagePath = join(directory, "image");
      writeFileSync(imagePath, "");
      truncateSync(imagePath, 64 * mebibyte);
      const type = label === "gpt" ? "linux" : "83";
      command("sfdisk", [imagePath], `label: ${label}\nstart=2048, size=122880, type=${type}\n`);
      command("mke2fs", [
        "-q",
        "-F",
        "-t",
        "ext4",
        "-d",
        tree,
        "-E",
        "offset=1048576",
        imagePath,
        "60m",
      ]);
      const fingerprints = await run(readFileSync(imagePath), { format: "raw" });
      t.regex(fingerprints[0] ?? "", /^SHA256:/);
      t.is(command("sfdisk", ["--verify", disk]).includes("No errors detected"), true);
      await lookInto(disk, 1, "ext4", (root) => {
        checkConfiguration(t, root, fingerprints);
        const size = command("df", ["--output=size", "-B1M", root]).split("\n")[1];
        t.true(Number(size) > 130, `file system of ${size} MiB`);
      });
    });
  });
}

const capability = "cap_net_raw=ep";

function packTree(directory: string, setUp: (tree: string) => void = () => {}): Buffer {
  const tree = join(directory, "tree");
  makeTree(tree);
  command("mknod", [join(tree, "null"), "c", "1", "3"]);
  setUp(tree);
  command("chown", ["7:8", join(tree, "usr/bin/mawk")]);
  command("setcap", [capability, join(tree, "usr/bin/mawk")]);
  const packed = join(directory, "tree.tar");
  const attributes = ["--format=posix", "--xattrs", "--xattrs-include=*"];
  command("tar", [...attributes, "--numeric-owner", "-C", tree, "-cf", packed, "."]);
  return readFileSync(packed);
}

/** With stand-ins for GRUB's files, which nobody starts here. */
async function withGrub(
  work: (laboratory: Laboratory, core: Buffer) => Promise<void>,
  diskBytes: number,
) {
  await inLaboratory(diskBytes, async (laboratory) => {
    const { directory } = laboratory;
    const grub = join(directory, "agent/share/grub");
    mkdirSync(grub, { recursive: true });
    const core = randomBytes(50_000);
    writeFileSync(join(grub, "boot.img"), Buffer.alloc(512, 0x11));
    writeFileSync(join(grub, "core.img"), core);
    writeFileSync(join(grub, "bootx64.efi"), "efi program");
    const restore = useSystemTools(join(directory, "agent"));
    try {
      await work(laboratory, core);
    } finally {
      restore();
    }
  });
}

test.serial("a root file system for GRUB gets partitions, tree and boot loader", async (t) => {
  await withGrub(async ({ directory, disk, run }, core) => {
    const fingerprints = await run(packTree(directory), {
      format: "rootfs-tar",
      bootloader: "grub",
    });
    t.true(command("sfdisk", ["--verify", disk]).includes("No errors detected"));
    const head = octetsOf(disk, 0, headOctets);
    t.is(head.readBigUInt64LE(0x5c), 40n);
    t.is(head.readBigUInt64LE(40 * 512 + 500), 41n);
    t.is(
      sha256(head.subarray(41 * 512, 41 * 512 + 40_000)),
      sha256(core.subarray(512, 512 + 40_000)),
    );
    await lookInto(disk, 2, "vfat", (root) => {
      t.is(readFileSync(join(root, "EFI/BOOT/BOOTX64.EFI"), "utf8"), "efi program");
    });
    await lookInto(disk, 3, "ext4", (root) => {
      checkConfiguration(t, root, fingerprints);
      t.is(readlinkSync(join(root, "etc/alternatives/awk")), "/usr/bin/mawk");
      t.is(readlinkSync(join(root, "lib")), "usr/lib");
      t.is((statSync(join(root, "usr/bin/passwd")).mode & 0o7777).toString(8), "4755");
      const { uid, gid } = statSync(join(root, "usr/bin/mawk"));
      t.deepEqual([uid, gid], [7, 8]);
      t.true(command("getcap", [join(root, "usr/bin/mawk")]).includes(capability));
      t.is(lstatSync(join(root, "null"), { throwIfNoEntry: false }), undefined);
      t.regex(
        readFileSync(join(root, "boot/grub/grub.cfg"), "utf8"),
        /linux \/boot\/vmlinuz-6\.1\.0-12-amd64 root=UUID=\S+ .*\n {2}initrd \/boot\/initrd\.img-6\.1\.0-12-amd64/,
      );
      t.regex(
        readFileSync(join(root, "etc/fstab"), "utf8"),
        /^UUID=\S+ \/ ext4 [\s\S]*\/boot\/efi vfat/,
      );
    });
  }, 500 * mebibyte);
});

const slotted = {
  format: "rootfs-tar",
  bootloader: "grub",
  slots: { rootMiB: 160, data: "/srv" },
} as const;

test.serial(
  "an update writes the other root slot with what is kept, and leaves the running one and the data alone",
  async (t) => {
    await withGrub(async ({ directory, disk, run, update: updateIt }) => {
      const text = (root: string, path: string) => readFileSync(join(root, path), "utf8");
      await run(packTree(directory), slotted);
      const tables = octetsOf(disk, 0, headOctets);
      t.true(command("sfdisk", ["--verify", disk]).includes("No errors detected"));
      const parts = parsePartitionTable(tables)?.partitions.map(({ length }) => length / mebibyte);
      t.deepEqual(parts?.slice(1, 4), [64, 160, 160]);
      const key = await lookInto(disk, 3, "ext4", (root) => {
        put(root, "etc/app/settings", "of this node\n", 0o640);
        command("chown", ["7:8", join(root, "etc/app/settings")]);
        command("setcap", [capability, join(root, "etc/app/settings")]);
        linkSync(join(root, "etc/app/settings"), join(root, "etc/app/same"));
        symlinkSync("/nowhere", join(root, "etc/app/link"));
        put(root, "opt/scratch", "nobody's\n");
        put(root, "etc/machine-id", "0123456789abcdef0123456789abcdef\n", 0o444);
        writeFileSync(join(root, "root/.ssh/authorized_keys"), "ssh-ed25519 BBBB own\n");
        return text(root, "etc/ssh/ssh_host_ed25519_key");
      });
      await lookInto(disk, 5, "ext4", (root) => put(root, "table", "rows\n"));
      const before = await sliceOf(disk, 3);

      rmSync(join(directory, "tree"), { recursive: true });
      const next = packTree(directory, (tree) => put(tree, "etc/app/settings", "of the image\n"));
      await updateIt(next, slotted, ["/etc/app", "/not/there"]);

      t.true(octetsOf(disk, 0, headOctets).equals(tables), "the table is as it was");
      t.is(await sliceOf(disk, 3), before, "the running system is as it was");
      await lookInto(disk, 5, "ext4", (root) => t.is(text(root, "table"), "rows\n"));
      await lookInto(disk, 2, "vfat", (root) => {
        t.deepEqual(readChoice(root), { active: "a", tried: "b" });
      });
      await lookInto(disk, 4, "ext4", (root) => {
        t.is(text(root, "etc/app/settings"), "of this node\n");
        const { uid, gid, mode, ino } = statSync(join(root, "etc/app/settings"));
        t.deepEqual([uid, gid, mode & 0o777], [7, 8, 0o640]);
        t.true(command("getcap", [join(root, "etc/app/settings")]).includes(capability));
        t.is(statSync(join(root, "etc/app/same")).ino, ino);
        t.is(readlinkSync(join(root, "etc/app/link")), "/nowhere");
        t.throws(() => statSync(join(root, "opt/scratch")));
        t.throws(() => statSync(join(root, "not")));
        t.is(text(root, "etc/machine-id"), "0123456789abcdef0123456789abcdef\n");
        t.is(text(root, "etc/ssh/ssh_host_ed25519_key"), key);
        t.is(
          text(root, "root/.ssh/authorized_keys"),
          "ssh-ed25519 BBBB own\nssh-ed25519 AAAA admin\n",
        );
        t.is(text(root, "var/lib/marcoboot/trial"), "600\n");
        t.like(JSON.parse(text(root, "var/lib/marcoboot/identity/system.json")), {
          madeBy: "task_2",
          slot: "b",
        });
        const fstab = text(root, "etc/fstab");
        t.regex(fstab, /^UUID=\S+ \/ ext4 [\s\S]*\/boot\/efi vfat [\s\S]*\/srv ext4/);
      });
    }, 640 * mebibyte);
  },
);

/** Digest of a partition's octets. */
async function sliceOf(disk: string, number: number): Promise<string> {
  const head = octetsOf(disk, 0, headOctets);
  const found = parsePartitionTable(head)?.partitions.find((one) => one.number === number);
  const { offset = 0, length = 0 } = found ?? {};
  return sha256(octetsOf(disk, offset, length));
}

test.serial(
  "a Raspberry Pi's other root slot is written, its boot files beside those that boot",
  async (t) => {
    const pi = { ...slotted, bootloader: "raspberry-pi", architecture: "arm64" } as const;
    await inLaboratory(660 * mebibyte, async ({ directory, disk, run, update: updateIt }) => {
      await run(
        packTree(directory, (tree) => put(tree, "boot/firmware/bootcode.bin", "code")),
        pi,
      );
      t.true(command("sfdisk", ["--verify", disk]).includes("No errors detected"));
      const parts = parsePartitionTable(octetsOf(disk, 0, headOctets))?.partitions;
      t.deepEqual(
        parts?.slice(0, 3).map(({ length }) => length / mebibyte),
        [256, 160, 160],
      );
      const before = await sliceOf(disk, 2);
      rmSync(join(directory, "tree"), { recursive: true });
      await updateIt(
        packTree(directory, (tree) => put(tree, "boot/vmlinuz-6.1.0-13-amd64", "new kernel")),
        pi,
        [],
      );
      t.is(await sliceOf(disk, 2), before, "the running system is as it was");
      await lookInto(disk, 1, "vfat", (root) => {
        t.deepEqual(readChoice(root), { active: "a" });
        t.is(readFileSync(join(root, "bootcode.bin"), "utf8"), "code");
        t.is(readFileSync(join(root, "a/kernel8.img"), "utf8"), "kernel");
        t.is(readFileSync(join(root, "b/kernel8.img"), "utf8"), "new kernel");
        t.regex(readFileSync(join(root, "b/cmdline.txt"), "utf8"), /root=PARTUUID=[0-9a-f]{8}-03 /);
      });
      await lookInto(disk, 3, "ext4", (root) => {
        t.is(readFileSync(join(root, "var/lib/marcoboot/trial"), "utf8"), "600\n");
        t.regex(
          readFileSync(join(root, "etc/fstab"), "utf8"),
          /\/boot\/firmware vfat [\s\S]*\/srv/,
        );
      });
    });
  },
);

test.serial(
  "an archive that leads outside leaves nothing bootable and no loop device",
  async (t) => {
    await inLaboratory(500 * mebibyte, async ({ directory, disk, run }) => {
      const outside = join(directory, "outside");
      mkdirSync(outside);
      const first = join(directory, "first");
      mkdirSync(join(first, "etc"), { recursive: true });
      symlinkSync(outside, join(first, "out"));
      const second = join(directory, "second/out");
      put(second, "file", "written outside");
      const packed = join(directory, "hostile.tar");
      command("tar", ["-C", first, "-cf", packed, "."]);
      command("tar", ["-C", dirname(second), "-rf", packed, "./out/file"]);
      const error = await t.throwsAsync(
        run(readFileSync(packed), { format: "rootfs-tar", bootloader: "raspberry-pi" }),
      );
      t.regex(error?.message ?? "", /cannot be unpacked/);
      t.throws(() => statSync(join(outside, "file")));
      t.true(octetsOf(disk, 0, mebibyte).every((octet) => octet === 0));
      t.false(command("losetup", ["-a"]).includes(disk));
    });
  },
);

/** Lets the agent find boot loader files in `root`, while its tools still are the system's. */
function useSystemTools(root: string): () => void {
  const lib = join(root, "lib");
  const sbin = join(root, "sbin");
  mkdirSync(lib);
  mkdirSync(sbin);
  // in the squashfs this is the C library's loader; here a script that plays it
  writeFileSync(join(lib, "ld-linux-test.so.2"), '#!/bin/sh\nshift 2\nexec "$@"\n', {
    mode: 0o755,
  });
  for (const tool of ["mke2fs", "e2fsck", "resize2fs", "mkfs.vfat", "sfdisk"]) {
    symlinkSync(`/usr/sbin/${tool}`, join(sbin, tool));
  }
  symlinkSync("/usr/bin/tar", join(sbin, "tar"));
  process.env["MARCOBOOT_AGENT_ROOT"] = root;
  return () => {
    delete process.env["MARCOBOOT_AGENT_ROOT"];
  };
}
