/**
 * Raspberry Pi 2 v1.2, 3, 3+: the mask ROM, and the bootcode.bin it loads.
 *
 *   ROM            5 DISCOVERs 5 s apart, then low power until the next power cycle
 *   ROM            bootcode.bin, bootsig.bin: 512-octet blocks, no options
 *   bootcode.bin   <serial>/start.elf or start.elf, then the list of firmware#935
 *
 * Its faults are kept: one xid for all boards, so that any board's OFFER it can
 * hear is taken; no REQUEST; IP with TTL 128 and UDP without checksum; relayed
 * answers refused; the sender of the answer is the TFTP server, whatever siaddr
 * says. Before its first request it asks for that server by ARP, so that both know
 * each other; once data has come it answers no ARP request any more.
 */

import { parseMacAddress } from "#protocol/brand.ts";
import type { Board } from "../board.ts";
import { dotted, latin1, type Reply, readReply, sendMessage, takeAddress } from "../dhcp-client.ts";
import { type Ending, type FileServer, failed, type Program } from "../program.ts";
import type { TftpHabits } from "../tftp-reader.ts";
import type { Firmware } from "./firmware.ts";
import {
  consider,
  explainSilence,
  FetchFailed,
  fileSystem,
  type Get,
  loadKernel,
  type Offers,
  raspberryPiOptions,
  readFirmwareConfig,
} from "./raspberry-pi.ts";

const xid = 0x26f30339; // the same on every board (raspberrypi/firmware#1067)
const discovers = 5;
const discoverPeriodMs = 5000;
const requestedOptions = [43, 60, 67, 128, 129, 130, 131, 132, 133, 134, 135, 66];
/** Old ROMs send 0x44 sixteen times, whoever they are. */
const machine = Uint8Array.of(0, ...new Array<number>(16).fill(0x44));

const patience = { retryMs: 1000, attempts: 10, rollsOver: false } as const;
const romHabits: TftpHabits = { options: [], ...patience };
const sizeAndBlocks = [
  ["tsize", "0"],
  ["blksize", "1024"],
] as const;
/** bootcode.bin and start.elf: asked for once to see that it is there, then again. */
const laterHabits: TftpHabits = {
  options: sizeAndBlocks,
  probe: { options: sizeAndBlocks, code: 0, message: "Early terminate" },
  ...patience,
};
const twice: TftpHabits = { ...laterHabits, doubled: true };

export const pi3: Firmware = {
  name: "pi3",
  about: "Raspberry Pi 2 v1.2, 3 and 3+: mask ROM and bootcode.bin",
  firstMac: parseMacAddress("b8:27:eb:5a:00:01"),
  station: { ttl: 128, udpChecksum: false, answersArp: "until-data" },
  *boot(board): Program<Ending> {
    const offers: Offers = { address: undefined, boot: undefined };
    const boot = yield* discover(board, offers);
    if (!boot) return explainSilence(board, offers, "25 s: it stays off until a power cycle");
    if (!board.station.isLocal(boot.address)) {
      return failed(`TFTP server ${dotted(boot.address)} is in another subnet: unsupported`);
    }
    const mac = yield* board.station.resolve(boot.address);
    if (!mac) return failed(`no ARP answer of ${dotted(boot.address)}`);
    try {
      return yield* load(board, { address: boot.address, mac });
    } catch (error) {
      if (error instanceof FetchFailed) return failed(error.message);
      throw error;
    }
  },
};

function* discover(board: Board, offers: Offers): Program<Reply | undefined> {
  const { station } = board;
  for (let sent = 1; sent <= discovers; sent++) {
    board.note("discover", `DISCOVER ${sent} of ${discovers}`);
    sendMessage(station, {
      type: "discover",
      xid,
      secs: 0,
      flags: 0,
      options: [[55, Uint8Array.from(requestedOptions)], ...raspberryPiOptions, [97, machine]],
    });
    const until = station.now + discoverPeriodMs;
    for (;;) {
      const arrival = yield until;
      if (!arrival) break;
      const reply = readReply(station, arrival, xid);
      if (reply?.type !== "offer") continue;
      if (reply.packet.hops !== 0) {
        board.note("ignored", `${dotted(reply.address)}: relayed (hops is not 0)`);
        continue;
      }
      if (reply.isForAnother && reply.offered !== 0) {
        board.note("offer", "meant for another board: all have the same transaction id");
      }
      consider(board, reply, offers);
      if (!offers.address || !offers.boot) continue;
      takeAddress(station, offers.address);
      return offers.boot;
    }
  }
  return undefined;
}

/** ROM, bootcode.bin and start.elf in the order of raspberrypi/firmware#935. */
function* load(board: Board, server: FileServer): Program<Ending> {
  let prefix = "";
  const get = fileSystem(board, server, () => prefix);
  if ((yield* get("bootcode.bin", romHabits)) === undefined) return failed("no bootcode.bin");
  yield* get("bootsig.bin", romHabits);
  // low three octets; the fourth is not on the wire
  prefix = `00${board.station.mac.replaceAll(":", "").slice(6)}/`;
  if ((yield* get("start.elf", twice)) === undefined) {
    prefix = "";
    if ((yield* get("start.elf", twice)) === undefined) return failed("no start.elf");
  }
  const text = yield* configure(get);
  return yield* loadKernel(get, {
    kernels: ["kernel8.img", "kernel7.img"],
    deviceTrees: ["bcm2710-rpi-3-b.dtb", "bcm2837-rpi-3-b.dtb"],
    config: readFirmwareConfig(text, ["all", "pi3"]),
    habits: laterHabits,
  });
}

function* configure(get: Get): Program<string> {
  for (const name of ["autoboot.txt", "config.txt", "recovery.elf", "start.elf", "fixup.dat"]) {
    yield* get(name, laterHabits);
  }
  for (const name of ["recovery.elf", "dt-blob.bin", "recovery.elf", "bootcfg.txt"]) {
    yield* get(name, laterHabits);
  }
  const config = yield* get("config.txt", twice);
  return latin1(config?.content);
}
