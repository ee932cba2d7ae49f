/** What nodes are booted with: loaders, Raspberry Pi firmware, the netinst. */

import { statSync } from "node:fs";
import { join } from "node:path";
import type { Finding } from "#protocol/timeline.ts";
import { loaderNames } from "../../boot/loaders.ts";
import { netinstParts } from "../../boot/netinst.ts";
import { listFirmwareFiles } from "../../boot/pi-files.ts";
import type { Config } from "../../config.ts";
import { type Check, fine, hint, problem } from "../check.ts";
import { sizeText } from "../words.ts";

/** What `marcoboot netinst build` leaves; the initrd is made of stage 1. */
const parts = netinstParts.map((part) => (part === "initrd" ? "stage1.cpio.zst" : part));
const architectures = ["amd64", "arm64"] as const;

export const bootFilesCheck: Check = {
  name: "boot files",
  examine: async ({ config }) => [
    ...loaders(config),
    ...raspberryPi(config),
    ...netinst(config),
    ...tooLarge(config),
  ],
};

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

function loaders({ loadersDirectory }: Config): readonly Finding[] {
  const missing = loaderNames.filter((name) => !isFile(join(loadersDirectory, name)));
  if (missing.length === 0) return [fine("loaders", `all boot loaders are in ${loadersDirectory}`)];
  const report = missing.length === loaderNames.length ? problem : hint;
  return [
    report(
      "loaders-missing",
      `boot loaders are missing in ${loadersDirectory}: ${missing.join(", ")}`,
      "run set-up; nodes that need these do not boot",
    ),
  ];
}

function raspberryPi({ loadersDirectory }: Config): readonly Finding[] {
  const files = listFirmwareFiles(loadersDirectory);
  const wanted = ["bootcode.bin", "start.elf", "start4.elf"];
  const missing = wanted.filter((name) => !files.includes(name));
  if (missing.length === 0) return [];
  return [
    hint(
      "raspberry-pi-files-missing",
      `no Raspberry Pi boots without ${missing.join(", ")} in ${join(loadersDirectory, "raspberry-pi")}`,
      "run set-up; racks without a Raspberry Pi do not need them",
    ),
  ];
}

function netinst({ netinstDirectory }: Config): readonly Finding[] {
  const built = architectures.filter((architecture) =>
    parts.every((part) => isFile(join(netinstDirectory, architecture, part))),
  );
  if (built.length > 0) return [fine("netinst", `the netinst is built for ${built.join(" and ")}`)];
  return [
    problem(
      "netinst-missing",
      `no netinst is built in ${netinstDirectory}`,
      "run set-up, or `marcoboot netinst build`",
    ),
  ];
}

/** The TFTP of a Raspberry Pi's EEPROM from before 2025-09 ends at 65535 blocks of 1024 octets. */
const raspberryPiLimit = 65535 * 1024;

function tooLarge({ loadersDirectory, netinstDirectory }: Config): readonly Finding[] {
  const firmware = join(loadersDirectory, "raspberry-pi");
  const paths = [
    ...listFirmwareFiles(loadersDirectory).map((name) => join(firmware, name)),
    ...["kernel", "stage1.cpio.zst"].map((name) => join(netinstDirectory, "arm64", name)),
  ];
  return paths.flatMap((path) => {
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    return size < raspberryPiLimit
      ? []
      : [
          problem(
            "file-too-large",
            `${path} has ${sizeText(size)}: a Raspberry Pi's TFTP ends at 64 MiB, so it is not served to one`,
            "make it smaller: compress it, or leave modules out",
          ),
        ];
  });
}
