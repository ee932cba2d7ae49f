/**
 * iPXE on a PC with BIOS, as captured from the build of 2019, or started by UEFI
 * firmware, which differs in how it names its machine: its own options and user class, `secs` that are no seconds, a second DISCOVER while it waits for a
 * proxy unless option 175.176 says that there is none; then the file named by a
 * URL, and what a script's `kernel` and `initrd` lines name.
 */

import { parseMacAddress } from "#protocol/brand.ts";
import type { Board } from "../board.ts";
import { dotted, latin1, type Reply, text } from "../dhcp-client.ts";
import { fetchByHttp } from "../http-reader.ts";
import { type Ending, type FileServer, failed, type Program } from "../program.ts";
import { type Fetched, fetchByTftp, type TftpHabits } from "../tftp-reader.ts";
import type { Firmware } from "./firmware.ts";
import { type BootSource, configure, type PxeHabits, reach, uuidOf } from "./pxe.ts";

const proxyWaitMs = 3460; // first DISCOVER to REQUEST, measured
const noProxyCode = 176; // in option 175: do not wait for a proxy
const tftp: TftpHabits = {
  options: [
    ["blksize", "1432"],
    ["tsize", "0"],
  ],
  retryMs: 1000,
  attempts: 10,
  rollsOver: true,
};
const requestedOptions = [
  ...[1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119],
  ...[128, 129, 130, 131, 132, 133, 134, 135, 175, 203],
];
/** Bus id, version, and one octet per feature. */
const features =
  "b105011af41000eb03010000170101220101130101110101270101190101290101100102210101150101180101120101";

interface Machine {
  readonly name: "ipxe" | "ipxe-x64";
  readonly about: string;
  readonly firstMac: string;
  /** Of options 60 and 93. */
  readonly architecture: 0 | 7;
  /** Version of its UNDI, as option 60 and option 94 write it. */
  readonly undi: readonly [text: string, major: number, minor: number];
}

export const ipxe = firmwareOf({
  name: "ipxe",
  about: "iPXE on a PC with BIOS: script by HTTP or TFTP",
  firstMac: "52:54:00:5d:00:01",
  architecture: 0,
  undi: ["002001", 2, 1],
});

export const ipxeX64 = firmwareOf({
  name: "ipxe-x64",
  about: "the same started by UEFI, x64",
  firstMac: "52:54:00:5e:00:01",
  architecture: 7,
  undi: ["003010", 3, 10],
});

function firmwareOf(machine: Machine): Firmware {
  return {
    name: machine.name,
    about: machine.about,
    firstMac: parseMacAddress(machine.firstMac),
    station: { ttl: 64, udpChecksum: true, answersArp: "always" },
    *boot(board): Program<Ending> {
      const configured = yield* configure(board, habitsOf(board, machine));
      if (configured.kind === "ended") return configured.ending;
      return yield* load(board, configured.source);
    },
  };
}

function habitsOf(board: Board, { architecture, undi: [undi, major, minor] }: Machine): PxeHabits {
  const begun = board.station.now;
  return {
    discovers: [
      { secs: 4, waitMs: 1000 },
      { secs: 10, waitMs: 2460 },
      { secs: 18, waitMs: 4000 },
      { secs: 34, waitMs: 8000 },
    ],
    flags: 0,
    options: () => [
      [57, Uint8Array.of(0x05, 0xc0)],
      [93, Uint8Array.of(0, architecture)],
      [94, Uint8Array.of(1, major, minor)],
      [60, text(`PXEClient:Arch:0000${architecture}:UNDI:${undi}`)],
      [77, text("iPXE")], // raw, not RFC 3004
      [55, Uint8Array.from(requestedOptions)],
      [175, Uint8Array.fromHex(features)],
      [61, Uint8Array.of(1, ...board.station.macBytes)],
      [97, uuidOf(board)],
    ],
    listenMs: ({ address, proxy }) =>
      proxy || (address && saysNoProxy(address))
        ? 0
        : Math.max(0, begun + proxyWaitMs - board.station.now),
    asksWhileListening: true,
    acceptsBare: true,
  };
}

/** Encapsulated options: code, length, value. */
export function saysNoProxy(reply: Reply): boolean {
  const value = reply.packet.options.get(175);
  for (let at = 0; value && at + 2 < value.length; at += 2 + (value[at + 1] ?? 0)) {
    if (value[at] === noProxyCode && value[at + 2] === 1) return true;
  }
  return false;
}

function* load(board: Board, source: BootSource): Program<Ending> {
  if (source.file === "") return failed("nothing to boot: no boot file name");
  const first = yield* get(board, source, source.file);
  if (first.kind !== "file") return failed(explain(first, source.file));
  const content = latin1(first.content);
  if (!content.startsWith("#!ipxe")) return { outcome: "booted" };
  for (const url of filesOf(content)) {
    const file = yield* get(board, source, url);
    if (file.kind !== "file") return failed(explain(file, url));
  }
  return { outcome: "booted" };
}

function explain(fetched: Exclude<Fetched, { readonly kind: "file" }>, name: string): string {
  return fetched.kind === "failed" ? fetched.reason : `no ${name}`;
}

/** The URLs of `kernel` and `initrd` lines; one with a setting in it is left out: nobody fills it in here. */
export function filesOf(script: string): readonly string[] {
  return script.split("\n").flatMap((line) => {
    const [command = "", ...words] = line.trim().split(/\s+/);
    if (!["kernel", "initrd", "imgfetch", "module"].includes(command)) return [];
    const at = words.findIndex(
      (word, index) => !word.startsWith("--") && words[index - 1] !== "--name",
    );
    const url = words[at] ?? "";
    return url === "" || url.includes("${") ? [] : [url];
  });
}

function* get(board: Board, source: BootSource, name: string): Program<Fetched> {
  const url = URL.parse(name, `tftp://${dotted(source.server)}/`);
  const address = url ? addressIn(url.hostname) : undefined;
  if (!url || address === undefined) {
    return { kind: "failed", reason: `${name}: not a URL with an IPv4 address` };
  }
  const server: FileServer | undefined = yield* reach(board, address);
  if (!server) return { kind: "failed", reason: `no ARP answer of ${url.hostname}` };
  if (url.protocol === "http:") return yield* fetchByHttp(board, server, url);
  if (url.protocol === "tftp:") {
    return yield* fetchByTftp(board, server, url.pathname.slice(1), tftp);
  }
  return { kind: "failed", reason: `${name}: ${url.protocol} is not simulated` };
}

function addressIn(host: string): number | undefined {
  if (!/^\d+(?:\.\d+){3}$/.test(host)) return undefined;
  return host.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0);
}
