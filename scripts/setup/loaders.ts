/**
 * Boot loaders that the server hands out, laid out as `loadersDirectory` wants them:
 *
 *   ipxe-x64.efi      UEFI, the firmware's own network driver (snponly)
 *   ipxe-arm64.efi    UEFI arm64; Debian builds it with iPXE's drivers and the firmware's
 *   undionly.kpxe     BIOS, the card's own UNDI driver
 *   shim<x64|aa64>.efi grub<x64|aa64>.efi   signed by Microsoft and Debian, for Secure Boot
 *   raspberry-pi/     bootcode.bin start*.elf fixup*.dat *.dtb
 *
 * iPXE and GRUB are the next release's builds: Debian 12 has no iPXE for arm64,
 * and its signed GRUB cannot be started by HTTP.
 */

import { cp, mkdir, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Architecture } from "#protocol/firmware.ts";
import type { PrivateApt } from "../../netinst/initramfs/private-apt.ts";

/** Board trees under the names the Pi's firmware asks for; upstream Linux calls the Pi 3's chip bcm2837. */
const dtbAliases: Readonly<Record<string, string>> = {
  "bcm2837-rpi-3-b.dtb": "bcm2710-rpi-3-b.dtb",
  "bcm2837-rpi-3-b-plus.dtb": "bcm2710-rpi-3-b-plus.dtb",
  "bcm2837-rpi-cm3-io3.dtb": "bcm2710-rpi-cm3.dtb",
  "bcm2837-rpi-zero-2-w.dtb": "bcm2710-rpi-zero-2-w.dtb",
};

/** Makes the directory anew beside the old one, then puts it in its place. */
export async function layLoaders(apt: PrivateApt, output: string): Promise<void> {
  const [ipxe = ""] = await apt.unpack("next", "amd64", ["ipxe"]);
  const [firmware = ""] = await apt.unpack("own", "amd64", ["raspi-firmware"]);
  const version = await apt.versionedKernel("arm64");
  const [kernel = ""] = await apt.unpack("own", "arm64", [`linux-image-${version}`]);

  const signed = [
    ...(await signedFiles(apt, "amd64", { name: "x64", target: "x86_64" })),
    ...(await signedFiles(apt, "arm64", { name: "aa64", target: "arm64" })),
  ];

  const fresh = `${output}.new`;
  await rm(fresh, { recursive: true, force: true });
  const pi = join(fresh, "raspberry-pi");
  await mkdir(pi, { recursive: true });
  const files: readonly (readonly [from: string, to: string])[] = [
    [join(ipxe, "usr/lib/ipxe/snponly.efi"), join(fresh, "ipxe-x64.efi")],
    [join(ipxe, "usr/lib/ipxe/ipxe-arm64.efi"), join(fresh, "ipxe-arm64.efi")],
    [join(ipxe, "usr/lib/ipxe/undionly.kpxe"), join(fresh, "undionly.kpxe")],
    ...signed.map(([from, name]) => [from, join(fresh, name)] as const),
    ...(await matching(join(firmware, "usr/lib/raspi-firmware"), /\.(bin|elf|dat)$/, pi)),
    ...(await matching(
      join(kernel, "usr/lib", `linux-image-${version}`, "broadcom"),
      /^bcm(2711|2837)-rpi-.*\.dtb$/,
      pi,
    )),
  ];
  for (const [from, to] of files) {
    await cp(from, to);
    const alias = dtbAliases[basename(to)];
    if (alias) await cp(from, join(dirname(to), alias));
  }
  await rm(output, { recursive: true, force: true });
  await rename(fresh, output);
}

/** shim, and GRUB's network image under the name shim asks for. */
async function signedFiles(
  apt: PrivateApt,
  architecture: Architecture,
  { name, target }: { readonly name: string; readonly target: string },
) {
  const names = ["shim-signed", `grub-efi-${architecture}-signed`];
  const [shim = "", grub = ""] = await apt.unpack("next", architecture, names);
  return [
    [join(shim, `usr/lib/shim/shim${name}.efi.signed`), `shim${name}.efi`],
    [join(grub, `usr/lib/grub/${target}-efi-signed/grubnet${name}.efi.signed`), `grub${name}.efi`],
  ] as const;
}

async function matching(directory: string, pattern: RegExp, target: string) {
  const names = (await readdir(directory)).filter((name) => pattern.test(name));
  return names.map((name) => [join(directory, name), join(target, name)] as const);
}
