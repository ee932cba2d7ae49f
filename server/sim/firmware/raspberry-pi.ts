/** What the mask ROM and the EEPROM of a Raspberry Pi have in common: the answer they take, and config.txt. */

import type { Board } from "../board.ts";
import {
  dotted,
  latin1,
  type OptionList,
  type Reply,
  text,
  vendorClassOf,
} from "../dhcp-client.ts";
import { type Ending, type FileServer, failed, type Program } from "../program.ts";
import { type Fetched, fetchByTftp, type TftpHabits } from "../tftp-reader.ts";

/** Says "BIOS PC" in options 60, 93 and 94: every model does. */
export const raspberryPiOptions: OptionList = [
  [93, Uint8Array.of(0, 0)],
  [94, Uint8Array.of(1, 2, 1)],
  [60, text("PXEClient:Arch:00000:UNDI:002001")],
];

/** Address and boot service, which may come from two servers. */
export interface Offers {
  address: Reply | undefined;
  boot: Reply | undefined;
}

/** Files what an OFFER is good for; notes what a board makes of it. */
export function consider(board: Board, offer: Reply, offers: Offers): void {
  const isBoot = latin1(offer.packet.options.get(43)).includes("Raspberry Pi Boot");
  const from = dotted(offer.address);
  if (offer.offered !== 0) {
    offers.address ??= offer;
    board.note("offer", `${dotted(offer.offered)} by ${from}`);
  }
  if (isBoot) {
    if (offer.offered === 0) board.note("offer", `boot service by ${from}`);
    offers.boot ??= offer;
  } else if (offer.offered === 0 || vendorClassOf(offer) !== "") {
    board.note("ignored", `${from}: no "Raspberry Pi Boot" in option 43`);
  }
}

export function explainSilence(board: Board, offers: Offers, waited: string): Ending {
  const missing = offers.address
    ? 'an address, but no answer with "Raspberry Pi Boot" in option 43'
    : offers.boot
      ? "a boot service, but no address"
      : "no usable DHCP offer";
  return {
    outcome: "silence",
    reason: `${missing} in ${waited} (${board.settings.firmware.name})`,
  };
}

/** What `config.txt` says that matters to the loader. */
export interface FirmwareConfig {
  readonly kernel?: string;
  readonly initramfs?: string;
  readonly deviceTree?: string;
  readonly commandLine: string;
  /** `os_prefix`, before the names of all these. */
  readonly prefix: string;
}

/**
 * config.txt in the firmware's words.
 *
 * @param sections - conditional sections that apply, `all` among them
 */
export function readFirmwareConfig(content: string, sections: readonly string[]): FirmwareConfig {
  const values = new Map<string, string>();
  let applies = true;
  for (const raw of content.split("\n")) {
    const line = raw.replace(/#.*/, "").trim();
    const section = /^\[(?<name>.+)\]$/.exec(line)?.groups?.["name"];
    if (section !== undefined) applies = sections.includes(section);
    const { name, value } =
      /^(?<name>initramfs)\s+(?<value>\S+)/.exec(line)?.groups ??
      /^(?<name>\w+)\s*=\s*(?<value>.+)$/.exec(line)?.groups ??
      {};
    if (applies && name !== undefined && value !== undefined) values.set(name, value.trim());
  }
  const kernel = values.get("kernel");
  const initramfs = values.get("initramfs");
  const deviceTree = values.get("device_tree");
  return {
    commandLine: values.get("cmdline") ?? "cmdline.txt",
    prefix: values.get("os_prefix") ?? "",
    ...(kernel !== undefined && { kernel }),
    ...(initramfs !== undefined && { initramfs }),
    ...(deviceTree !== undefined && { deviceTree }),
  };
}

/** The part of a boot in which a file's failure ends everything. */
export class FetchFailed extends Error {}

/** Fetches by one server; a failed transfer throws {@link FetchFailed}, a missing file is undefined. */
export function fileSystem(board: Board, server: FileServer, prefix: () => string) {
  return function* get(name: string, habits: TftpHabits): Program<FetchedFile | undefined> {
    const fetched = yield* fetchByTftp(board, server, prefix() + name, habits);
    if (fetched.kind === "failed") throw new FetchFailed(fetched.reason);
    return fetched.kind === "file" ? fetched : undefined;
  };
}

type FetchedFile = Extract<Fetched, { readonly kind: "file" }>;
export type Get = ReturnType<typeof fileSystem>;

export interface KernelFiles {
  readonly kernels: readonly string[];
  /** Of the firmware's choice; one in config.txt goes before them. */
  readonly deviceTrees: readonly string[];
  readonly config: FirmwareConfig;
  readonly habits: TftpHabits;
}

/** Command line, device tree, initramfs and kernel, in the order of the firmware. */
export function* loadKernel(getFile: Get, files: KernelFiles): Program<Ending> {
  const { config, habits } = files;
  const get: Get = (name, how) => getFile(`${config.prefix}${name}`, how);
  yield* get(config.commandLine, habits);
  const trees = [...(config.deviceTree ? [config.deviceTree] : []), ...files.deviceTrees];
  if ((yield* firstOf(get, trees, habits)) === undefined) return failed(`no ${trees[0]}`);
  if (config.initramfs && (yield* get(config.initramfs, habits)) === undefined) {
    return failed(`no ${config.initramfs}, which config.txt names`);
  }
  const kernels = config.kernel ? [config.kernel] : files.kernels;
  if ((yield* firstOf(get, kernels, habits)) === undefined) return failed(`no ${kernels[0]}`);
  return { outcome: "booted" };
}

export function* firstOf(
  get: Get,
  names: readonly string[],
  habits: TftpHabits,
): Program<FetchedFile | undefined> {
  for (const name of names) {
    const file = yield* get(name, habits);
    if (file) return file;
  }
  return undefined;
}
