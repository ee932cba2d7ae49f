/** Everything the demonstration needs before it can power a rack on: packages, netinst, loaders, images, page. */

import { join } from "node:path";
import type { Architecture } from "#protocol/firmware.ts";
import type { ImageFormat } from "#protocol/image.ts";
import { buildImage } from "../../images/recipes/debian-minbase/build.ts";
import { withLock } from "../../netinst/initramfs/lock.ts";
import { ensureWebBuilt } from "../build-web.ts";
import { type Accelerator, probeKvm } from "../lab/kvm.ts";
import { type GuestFirmware, guestArchitecture } from "../lab/qemu.ts";
import { cacheDirectory as cache, setup } from "../setup.ts";
import { type ImageFile, imageNameFor } from "./scenario.ts";

export interface Prepared {
  readonly netinstDirectory: string;
  readonly loadersDirectory: string;
  readonly images: ReadonlyMap<string, ImageFile>;
  /** The root file system of each image, as tar. */
  readonly trees: ReadonlyMap<string, string>;
  readonly accelerator: Accelerator;
}

export async function prepare(
  firmwares: readonly GuestFirmware[],
  say: (line: string) => void,
  format: ImageFormat = "raw",
): Promise<Prepared> {
  const architectures = [...new Set(firmwares.map(guestArchitecture))];
  await setup({ purpose: "demo", architectures, log: say });
  const { images, trees } = await withLock(join(cache, "images.lock"), say, async () => {
    await ensureWebBuilt();
    return buildImages(firmwares, say, format);
  });
  const netinstDirectory = join(cache, "netinst");
  const hasX86 = architectures.includes("amd64");
  const accelerator = hasX86 ? await probeKvm(join(netinstDirectory, "amd64", "kernel")) : "tcg";
  say(
    accelerator === "kvm" ? "KVM runs guests here" : "no usable KVM: x86 guests are emulated too",
  );
  const loadersDirectory = join(cache, "loaders");
  return { netinstDirectory, loadersDirectory, images, trees, accelerator };
}

async function buildImages(
  firmwares: readonly GuestFirmware[],
  say: (line: string) => void,
  format: ImageFormat,
): Promise<Pick<Prepared, "images" | "trees">> {
  const images = new Map<string, ImageFile>();
  const trees = new Map<string, string>();
  for (const firmware of firmwares) {
    const name = imageNameFor(firmware);
    if (images.has(name)) continue;
    const architecture: Architecture = guestArchitecture(firmware);
    const bootloader = firmware === "raspberry-pi-3" ? "raspberry-pi" : "grub";
    const built = await buildImage({ architecture, variant: bootloader, cache, log: say });
    const path = format === "raw" ? built.raw : built.tar;
    images.set(name, { path, format, architecture, bootloader });
    trees.set(name, built.tar);
  }
  return { images, trees };
}
