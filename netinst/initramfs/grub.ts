/**
 * GRUB for the disks that netinst writes from a rootfs tar, and for the image recipes.
 *
 *   boot.img core.img   BIOS: first 440 octets of sector 0; the rest from sector 1 on
 *   bootx64.efi         UEFI amd64: one file, to be put at EFI/BOOT/BOOTX64.EFI
 *   bootaa64.efi        UEFI arm64
 *
 * All look for the file system labelled `MBOOT-SLOTS` (the boot partition of a disk with
 * two root slots), else `marcoboot-root`, and go on with its /boot/grub/grub.cfg, so one
 * build fits every disk.
 */

import { cp, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "./command.ts";
import type { PrivateApt } from "./private-apt.ts";

const rootLabel = "marcoboot-root";

const switchLabel = "MBOOT-SLOTS";

/** The rescue parser runs it, which knows no `if`: the last search that finds something counts. */
const embeddedConfiguration = `search --no-floppy --label ${rootLabel} --set=root
search --no-floppy --label ${switchLabel} --set=root
set prefix=($root)/boot/grub
configfile /boot/grub/grub.cfg
echo "no file system labelled ${switchLabel} or ${rootLabel} with /boot/grub/grub.cfg"
`;

/** configfile and minicmd make a broken grub.cfg repairable at the console. */
const modules = [
  ...["part_gpt", "part_msdos", "ext2", "linux", "normal", "search", "search_label"],
  ...["search_fs_uuid", "serial", "terminal", "configfile", "minicmd", "echo", "test", "ls"],
  ...["reboot", "halt", "sleep", "loadenv", "fat"],
];

const builds = [
  { format: "i386-pc", file: "core.img", extra: ["biosdisk"] },
  { format: "x86_64-efi", file: "bootx64.efi", extra: ["all_video"] },
  { format: "arm64-efi", file: "bootaa64.efi", extra: ["all_video", "fdt"] },
];

/** grub-mkimage comes with libraries the build machine need not have. */
const toolPackages = [
  ...["grub-common", "libdevmapper1.02.1", "libselinux1", "libpcre2-8-0", "libudev1"],
  "liblzma5",
];

export async function buildGrub(apt: PrivateApt, output: string): Promise<void> {
  const tools = await apt.unpack("own", "amd64", toolPackages);
  const [pc = "", x64 = ""] = await apt.unpack("own", "amd64", [
    "grub-pc-bin",
    "grub-efi-amd64-bin",
  ]);
  const [arm64 = ""] = await apt.unpack("own", "arm64", ["grub-efi-arm64-bin"]);
  const places: Readonly<Record<string, string>> = {
    "i386-pc": pc,
    "x86_64-efi": x64,
    "arm64-efi": arm64,
  };
  const libraries = tools.flatMap((tool) =>
    ["lib", "usr/lib"].map((directory) => join(tool, directory, "x86_64-linux-gnu")),
  );

  const fresh = `${output}.new`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { recursive: true });
  const embedded = join(fresh, "embedded.cfg");
  await writeFile(embedded, embeddedConfiguration);
  for (const { format, file, extra } of builds) {
    await run(
      join(tools[0] ?? "", "usr/bin/grub-mkimage"),
      [
        ...["-O", format, "-p", "/boot/grub", "-c", embedded, "-o", join(fresh, file)],
        ...["-d", join(places[format] ?? "", "usr/lib/grub", format)],
        ...modules,
        ...extra,
      ],
      { environment: { LD_LIBRARY_PATH: libraries.join(":") } },
    );
  }
  await cp(join(pc, "usr/lib/grub/i386-pc/boot.img"), join(fresh, "boot.img"));
  await rm(embedded);
  await rm(output, { recursive: true, force: true });
  await rename(fresh, output);
}
