/**
 * Recipe: a small Debian (minbase, systemd, kernel, openssh-server, serial
 * console), made by mmdebstrap, as a raw disk and as a root file system tar.
 *
 * `grub`: GPT with BIOS boot partition, ESP and ext4 root; one disk boots under
 * BIOS and UEFI. `raspberry-pi`: MBR with a FAT partition holding firmware,
 * kernel and initramfs, and ext4 root. No loop device, no mount: mke2fs -d and
 * mtools write into files. Root is needed for the owners inside the tree.
 */

import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import type { Architecture } from "#protocol/firmware.ts";
import { ImageInvalidError } from "../../../server/errors.ts";
import { makeGrubDisk } from "../disk.ts";
import { withForeignBinaries } from "../foreign.ts";
import { bringFirmware, makeRaspberryPiDisk } from "../raspberry-pi.ts";
import { run } from "../run.ts";

export interface RecipeRequest {
  readonly architecture: Architecture;
  readonly variant: "grub" | "raspberry-pi";
  /** Directory of caches; holds `grub/` and `loaders/` from `npm run setup`. */
  readonly cache: string;
  /** One line per step, for people. */
  readonly log: (line: string) => void;
}

export interface RecipeResult {
  /** Disk, zstd. */
  readonly raw: string;
  /** Root file system, zstd. */
  readonly tar: string;
}

const suite = "bookworm";
const commonPackages = [
  "systemd-sysv",
  "udev",
  "dbus",
  "openssh-server",
  "iproute2",
  "initramfs-tools",
  "zstd",
  "kmod",
  "e2fsprogs",
] as const;
/** The cloud kernel has virtio, NVMe and AHCI only; a Raspberry Pi needs the full one. */
const kernels = {
  grub: { amd64: "linux-image-cloud-amd64", arm64: "linux-image-cloud-arm64" },
  "raspberry-pi": { amd64: "", arm64: "linux-image-arm64" },
} as const;
/** Left out when packages are unpacked: each file costs a node time, and its disk writes 15 MB/s. */
const excludedPaths = [
  ...["doc", "man", "info", "lintian", "locale", "bug", "zsh", "bash-completion", "gdb"].map(
    (folder) => `/usr/share/${folder}/*`,
  ),
  ...["/usr/share/zoneinfo/right/*", "/usr/share/zoneinfo/posix/*"], // with leap seconds, and links
  "/usr/lib/*/gconv/*", // character sets but ASCII and UTF-8
  ...["/lib/udev/hwdb.d/20-*-vendor*.hwdb", "/lib/udev/hwdb.d/20-OUI.hwdb"], // names of makers
];
/** A Raspberry Pi's disk is slower still, and its full kernel brings drivers for every arm64 server. */
const piDrivers = [
  ...["gpu", "media", "infiniband", "isdn", "staging", "iio", "scsi", "md", "target", "ata"],
  ...["net/ethernet/[!b]*", "net/wireless/[!b]*", "hv", "xen", "mtd", "hwmon", "firewire"],
].map((folder) => `/lib/modules/*/kernel/drivers/${folder}/*`);
const excludedFromPi = [
  ...piDrivers,
  "/lib/modules/*/kernel/sound/*",
  "/usr/lib/linux-image-*/[!b]*", // device trees of other makers
];
/** What the initramfs must find its disk with. */
const initramfsModules = {
  grub: ["virtio_pci", "virtio_blk", "virtio_scsi", "nvme", "ahci", "sd_mod", "ext4"],
  "raspberry-pi": [
    "bcm2835",
    "sdhci_iproc",
    "sdhci_bcm2835",
    "mmc_block",
    "ext4",
    "usb_storage",
    "xhci_pci",
    "pcie_brcmstb",
  ],
} as const;

/**
 * Builds the image unless a build of the same recipe lies in the cache.
 *
 * @throws ImageInvalidError naming the tool that failed and its last words
 */
export async function buildImage(request: RecipeRequest): Promise<RecipeResult> {
  const { architecture, variant, cache, log } = request;
  if (variant === "raspberry-pi" && architecture !== "arm64") {
    throw new ImageInvalidError(`a Raspberry Pi image is arm64, not ${architecture}`);
  }
  if (process.getuid?.() !== 0) {
    throw new ImageInvalidError("mmdebstrap needs root for the owners in the tree: run as root");
  }
  const folder = join(cache, "images");
  mkdirSync(folder, { recursive: true });
  const base = join(folder, `debian-minbase-${architecture}-${variant}-${recipeDigest()}`);
  const result: RecipeResult = { raw: `${base}.img.zst`, tar: `${base}.tar.zst` };
  if (existsSync(result.raw) && existsSync(result.tar)) return result;

  const work = join(folder, `work-${process.pid}-${architecture}-${variant}`);
  mkdirSync(work, { recursive: true });
  try {
    const tree = join(work, "tree");
    log(`image: mmdebstrap ${suite} ${architecture} (${variant}), 1-5 minutes`);
    await withForeignBinaries(architecture, cache, () => bootstrap(request, tree));
    configureTree(tree, variant);
    const firmware = join(cache, "loaders", "raspberry-pi");
    if (variant === "raspberry-pi") bringFirmware(tree, firmware);
    log("image: packing the root file system");
    const tar = join(work, "rootfs.tar");
    // without times that nobody sets: most entries then need no header besides their own
    const lean = ["--xattrs", "--pax-option=delete=atime,delete=ctime"];
    await run("tar", ["--numeric-owner", ...lean, "--sort=name", "-C", tree, "-cf", tar, "."]);
    await run("zstd", ["-q", "-T0", "-6", "--rm", tar]);
    log("image: making the disk");
    const disk = join(work, "disk.img");
    if (variant === "grub")
      await makeGrubDisk({ tree, disk, architecture, grub: join(cache, "grub") });
    else await makeRaspberryPiDisk({ tree, disk, firmware });
    await run("zstd", ["-q", "-T0", "-6", "--rm", disk]);
    for (const old of readdirSync(folder)) {
      if (old.startsWith(`debian-minbase-${architecture}-${variant}-`)) rmSync(join(folder, old));
    }
    await rename(`${tar}.zst`, result.tar);
    await rename(`${disk}.zst`, result.raw);
    return result;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Any change of the recipe's own files makes another image. */
function recipeDigest(): string {
  const hash = createHash("sha256");
  const here = import.meta.dirname;
  for (const file of [
    join(here, "build.ts"),
    join(here, "..", "disk.ts"),
    join(here, "..", "raspberry-pi.ts"),
    join(here, "..", "..", "disk", "grub-bios.ts"),
  ]) {
    hash.update(readFileSync(file));
  }
  return hash.digest("hex").slice(0, 12);
}

async function bootstrap(request: RecipeRequest, tree: string): Promise<void> {
  const { architecture, variant } = request;
  const excluded = variant === "grub" ? excludedPaths : [...excludedPaths, ...excludedFromPi];
  const modules = initramfsModules[variant].join("\\n");
  await run("mmdebstrap", [
    "--variant=minbase",
    "--mode=root",
    `--architectures=${architecture}`,
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", // else a package with all of Perl does that
    `--include=${[kernels[variant][architecture], ...commonPackages].join(",")}`,
    '--aptopt=Apt::Install-Recommends "false"',
    ...excluded.map((path) => `--dpkgopt=path-exclude=${path}`),
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    '--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d"',
    `--essential-hook=printf 'MODULES=list\\nCOMPRESS=zstd\\n' > "$1/etc/initramfs-tools/conf.d/marcoboot"`,
    `--essential-hook=printf '${modules}\\n' > "$1/etc/initramfs-tools/modules"`,
    "--skip=check/qemu",
    suite,
    tree,
  ]);
}

/** What every node of this image has in common; names and keys come at install. */
function configureTree(tree: string, variant: RecipeRequest["variant"]): void {
  const write = (path: string, text: string, mode = 0o644) => {
    mkdirSync(join(tree, path, ".."), { recursive: true });
    writeFileSync(join(tree, path), text, { mode });
  };
  for (const name of readdirSync(join(tree, "etc/ssh"))) {
    if (name.startsWith("ssh_host_")) rmSync(join(tree, "etc/ssh", name));
  }
  write("etc/hostname", "unconfigured\n");
  write("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n");
  write("etc/machine-id", "");
  rmSync(join(tree, "var/lib/dbus/machine-id"), { force: true });
  const boot = variant === "grub" ? "" : "LABEL=MARCOBOOT /boot/firmware vfat defaults 0 2\n";
  write("etc/fstab", `LABEL=marcoboot-root / ext4 errors=remount-ro 0 1\n${boot}`);
  if (variant === "raspberry-pi") {
    // A CDC Ethernet adapter matches this driver too; the one that loads first wins, and with
    // cdc_subset it has neither its MAC address nor a working link.
    write("etc/modprobe.d/cdc-subset.conf", "blacklist cdc_subset\n");
  }
  // By MAC address, as the firmware asked: the server reserves by it (a DUID would get a second address).
  write(
    "etc/systemd/network/90-dhcp.network",
    "[Match]\nType=ether\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n\n[DHCPv4]\nClientIdentifier=mac\nUseDNS=no\n",
  );
  link(
    tree,
    "etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
    "/lib/systemd/system/systemd-networkd.service",
  );
  // The kernel gives a console on the serial line, systemd a login there; a headless rack needs no more.
  write(
    "boot/grub/grub.cfg",
    [
      "serial --unit=0 --speed=115200",
      "terminal_output console",
      "set timeout=0",
      "search --no-floppy --label marcoboot-root --set=root",
      'if [ "$grub_cpu" = "arm64" ]; then set marcoboot_console="console=ttyAMA0,115200"; else set marcoboot_console="console=tty0 console=ttyS0,115200"; fi',
      "linux /vmlinuz root=LABEL=marcoboot-root ro $marcoboot_console",
      "initrd /initrd.img",
      "boot",
      "",
    ].join("\n"),
  );
  for (const old of ["vmlinuz.old", "initrd.img.old"]) rmSync(join(tree, old), { force: true });
  write("etc/resolv.conf", "");
}

function link(tree: string, path: string, target: string): void {
  const at = join(tree, path);
  mkdirSync(join(at, ".."), { recursive: true });
  rmSync(at, { force: true });
  symlinkSync(target, at);
}
