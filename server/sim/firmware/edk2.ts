/**
 * EDK2's PXE (OVMF and most PC firmware; x64 or arm64), as captured from Debian
 * 12's builds: broadcast answers, DISCOVERs with `secs` 0, 4, 12, 28, a pause of
 * some 4 s before the REQUEST, offers without a boot file ignored; TFTP by a size
 * probe it aborts with ERROR 8, then windows of 4 blocks of 1468 octets.
 */

import { parseMacAddress } from "#protocol/brand.ts";
import type { Board } from "../board.ts";
import { dotted, latin1, type OptionList, text } from "../dhcp-client.ts";
import { type Ending, failed, type Program } from "../program.ts";
import { fetchByTftp, type TftpHabits } from "../tftp-reader.ts";
import type { Firmware } from "./firmware.ts";
import { type BootSource, configure, type PxeHabits, reach, uuidOf } from "./pxe.ts";

const requestedOptions = [
  ...[1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60],
  ...[66, 67, 97, 128, 129, 130, 131, 132, 133, 134, 135],
];

const blocks = [
  ["blksize", "1468"],
  ["windowsize", "4"],
] as const;
const tftp: TftpHabits = {
  options: blocks,
  probe: { options: [["tsize", "0"], ...blocks], code: 8, message: "User aborted the transfer" },
  answersUnexpected: true,
  retryMs: 4000,
  attempts: 6,
  rollsOver: true,
};

interface Machine {
  readonly name: "edk2" | "edk2-arm64";
  readonly about: string;
  readonly firstMac: string;
  readonly architecture: 7 | 11;
}

export const edk2 = firmwareOf({
  name: "edk2",
  about: "UEFI PXE of EDK2, x64",
  firstMac: "52:54:00:5a:00:01",
  architecture: 7,
});

export const edk2Arm64 = firmwareOf({
  name: "edk2-arm64",
  about: "UEFI PXE of EDK2, arm64",
  firstMac: "52:54:00:5b:00:01",
  architecture: 11,
});

function firmwareOf(machine: Machine): Firmware {
  return {
    name: machine.name,
    about: machine.about,
    firstMac: parseMacAddress(machine.firstMac),
    station: { ttl: 64, udpChecksum: true, answersArp: "always" },
    *boot(board): Program<Ending> {
      const configured = yield* configure(board, habitsOf(board, machine.architecture));
      if (configured.kind === "ended") return configured.ending;
      return yield* load(board, configured.source);
    },
  };
}

function habitsOf(board: Board, architecture: number): PxeHabits {
  const arch = String(architecture).padStart(5, "0");
  return {
    discovers: [
      { secs: 0, waitMs: 4000 },
      { secs: 4, waitMs: 8000 },
      { secs: 12, waitMs: 16_000 },
      { secs: 28, waitMs: 32_000 },
    ],
    flags: 0x8000,
    options: (type): OptionList => [
      [57, type === "discover" ? Uint8Array.of(0x05, 0xc0) : Uint8Array.of(0xff, 0x00)],
      [55, Uint8Array.from(requestedOptions)],
      [97, uuidOf(board)],
      [94, Uint8Array.of(1, 3, 0)],
      [93, Uint8Array.of(0, architecture)],
      [60, text(`PXEClient:Arch:${arch}:UNDI:003000`)],
    ],
    listenMs: () => Number.POSITIVE_INFINITY, // it waits out its own timer, whatever it has
    asksWhileListening: false,
    acceptsBare: false,
  };
}

function* load(board: Board, source: BootSource): Program<Ending> {
  const server = yield* reach(board, source.server);
  if (!server) return failed(`no ARP answer of ${dotted(source.server)}`);
  const file = yield* fetchByTftp(board, server, source.file, tftp);
  if (file.kind === "not-found") return failed(`no ${source.file} (PXE-E23)`);
  if (file.kind === "failed") return failed(file.reason);
  const isProgram = file.content.length === 0 || latin1(file.content.subarray(0, 2)) === "MZ";
  return isProgram ? { outcome: "booted" } : failed(`${source.file} is no EFI program`);
}
