/**
 * The PXE ROM of a PC with BIOS: DISCOVERs after 4, 8, 16 and 32 s (PXE 2.1 §2.2.1),
 * broadcast answers, TFTP by a request for the size alone and then blocks of 1456
 * octets. After PXE's specification; no vendor's ROM was captured.
 */

import { parseMacAddress } from "#protocol/brand.ts";
import type { Board } from "../board.ts";
import { dotted, text } from "../dhcp-client.ts";
import { type Ending, failed, type Program } from "../program.ts";
import { fetchByTftp, type TftpHabits } from "../tftp-reader.ts";
import type { Firmware } from "./firmware.ts";
import { configure, type PxeHabits, reach, uuidOf } from "./pxe.ts";

const tftp: TftpHabits = {
  options: [["blksize", "1456"]],
  probe: { options: [["tsize", "0"]], code: 0, message: "TFTP Aborted" },
  retryMs: 2000,
  attempts: 6,
  rollsOver: false,
};
const requestedOptions = [
  ...[1, 2, 3, 5, 6, 11, 12, 13, 15, 16, 17, 18, 43, 54, 60, 67],
  ...[128, 129, 130, 131, 132, 133, 134, 135],
];

export const bios: Firmware = {
  name: "bios",
  about: "PXE ROM of a PC with BIOS",
  firstMac: parseMacAddress("52:54:00:5c:00:01"),
  station: { ttl: 20, udpChecksum: true, answersArp: "always" },
  *boot(board): Program<Ending> {
    const configured = yield* configure(board, habitsOf(board));
    if (configured.kind === "ended") return configured.ending;
    const { file: name, server: address } = configured.source;
    if (name === "") return failed("no boot filename received (PXE-E53)");
    const server = yield* reach(board, address);
    if (!server) return failed(`no ARP answer of ${dotted(address)} (PXE-E11)`);
    const file = yield* fetchByTftp(board, server, name, tftp);
    if (file.kind === "file") return { outcome: "booted" };
    return failed(file.kind === "failed" ? file.reason : `no ${name} (PXE-T01)`);
  },
};

function habitsOf(board: Board): PxeHabits {
  return {
    discovers: [
      { secs: 4, waitMs: 4000 },
      { secs: 8, waitMs: 8000 },
      { secs: 16, waitMs: 16_000 },
      { secs: 32, waitMs: 32_000 },
    ],
    flags: 0x8000,
    options: () => [
      [57, Uint8Array.of(0x04, 0xec)],
      [55, Uint8Array.from(requestedOptions)],
      [97, uuidOf(board)],
      [93, Uint8Array.of(0, 0)],
      [94, Uint8Array.of(1, 2, 1)],
      [60, text("PXEClient:Arch:00000:UNDI:002001")],
    ],
    // an offer that names the file is enough; else a proxy may still speak
    listenMs: ({ address, proxy }) => (address?.bootFile !== "" || proxy ? 0 : 4000),
    asksWhileListening: false,
    acceptsBare: true,
  };
}
