/**
 * Kernel modules of stage 1, and the choice of their files with everything they
 * depend on. depmod is run over the chosen tree afterwards, so busybox's modprobe
 * finds aliases as on an installed system.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Architecture } from "#protocol/firmware.ts";

interface ModuleGroup {
  readonly why: string;
  readonly names: readonly string[];
  readonly architecture?: Architecture;
}

const moduleGroups: readonly ModuleGroup[] = [
  {
    why: "virtual machines",
    names: ["virtio_pci", "virtio_mmio", "virtio_net", "virtio_blk", "virtio_scsi", "virtio_rng"],
  },
  {
    why: "server network cards",
    names: [
      ...["e1000", "e1000e", "igb", "igc", "ixgbe", "i40e", "ice", "r8169", "tg3", "bnxt_en"],
      ...["atlantic", "ena"],
    ],
  },
  {
    why: "USB network adapters; cdc_ether and rndis_host are also QEMU's",
    names: ["lan78xx", "smsc95xx", "r8152", "cdc_ether", "cdc_ncm", "rndis_host", "asix"],
  },
  {
    why: "network cards' physical layers",
    names: ["realtek", "broadcom", "microchip", "smsc"],
  },
  {
    why: "disks",
    names: [
      ...["nvme", "ahci", "sd_mod", "usb-storage", "uas", "mmc_block"],
      ...["sdhci-pci", "sdhci-acpi", "megaraid_sas", "mpt3sas"],
    ],
  },
  { why: "USB hosts", names: ["xhci_pci", "ehci_pci", "ohci_pci"] },
  {
    why: "VMware and Hyper-V guests",
    architecture: "amd64",
    names: ["vmxnet3", "vmw_pvscsi", "hv_netvsc", "hv_storvsc"],
  },
  {
    why: "Raspberry Pi and arm64 boards",
    architecture: "arm64",
    names: [
      ...["genet", "mdio-bcm-unimac", "bcm7xxx", "bcm2835", "sdhci-iproc", "sdhci-of-arasan"],
      ...["dwc2", "phy-generic", "xhci-plat-hcd", "reset-raspberrypi", "bcm2835_wdt"],
      ...["bcm2835-rng", "iproc-rng200", "gpio-regulator", "fixed"],
    ],
  },
  {
    why: "file systems: stage 2, and what the agent makes and mounts",
    names: [
      ...["loop", "squashfs", "overlay", "ext4", "vfat", "efivarfs"],
      ...["nls_cp437", "nls_iso8859-1", "nls_ascii", "nls_utf8"],
    ],
  },
  { why: "ext4 checksums, asked for by name and not by dependency", names: ["crc32c_generic"] },
];

/** Loaded by name: no device's alias leads to them. */
export function modulesLoadedByName(architecture: Architecture): readonly string[] {
  return [
    ...["loop", "squashfs", "sd_mod", "mmc_block"],
    ...(architecture === "arm64" ? ["phy-generic", "bcm2835_wdt"] : []),
  ];
}

/** `usb-storage` and `usb_storage` are one module: file names and lists disagree. */
function canonical(name: string): string {
  return name.replaceAll("-", "_");
}

/**
 * Paths below the module directory, e.g. `kernel/drivers/net/virtio_net.ko`, sorted.
 *
 * @param directory - `lib/modules/<version>` with the `modules.dep` that depmod wrote
 * @throws Error naming modules that this kernel neither has nor has built in
 */
export function chooseModules(directory: string, architecture: Architecture): readonly string[] {
  const dependencies = readDependencies(join(directory, "modules.dep"));
  const paths = new Map([...dependencies.keys()].map((path) => [nameOf(path), path]));
  const builtin = new Set(
    readFileSync(join(directory, "modules.builtin"), "utf8").trim().split("\n").map(nameOf),
  );
  const wanted = moduleGroups
    .filter((group) => !group.architecture || group.architecture === architecture)
    .flatMap((group) => group.names.map(canonical));
  const unknown = wanted.filter((name) => !paths.has(name) && !builtin.has(name));
  if (unknown.length > 0) throw new Error(`this kernel has no module ${unknown.join(", ")}`);

  const chosen = new Set<string>();
  for (const name of wanted) {
    const path = paths.get(name);
    if (!path) continue; // built in
    chosen.add(path);
    for (const needed of dependencies.get(path) ?? []) chosen.add(needed); // modules.dep is transitive
  }
  return [...chosen].sort();
}

/** Version directory below `lib/modules` of an unpacked kernel package. */
export function moduleDirectory(kernelPackage: string): string {
  const parent = join(kernelPackage, "lib/modules");
  const [version = ""] = readdirSync(parent);
  return join(parent, version);
}

function nameOf(path: string): string {
  return canonical((path.split("/").at(-1) ?? "").replace(/\.ko(\.\w+)?$/, ""));
}

function readDependencies(file: string): Map<string, readonly string[]> {
  const lines = readFileSync(file, "utf8").trim().split("\n");
  return new Map(
    lines.map((line) => {
      const [path = "", rest = ""] = line.split(":");
      return [path, rest.trim().split(/\s+/).filter(Boolean)];
    }),
  );
}
