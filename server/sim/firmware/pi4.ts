/**
 * Raspberry Pi 4, 400, CM4 and 5, 500, CM5: the EEPROM.
 *
 *   DISCOVER every 4 s for 45 s, REQUEST without option 60, ACK; then TFTP as a file system
 *
 * Option 97 is `00 FourCC revision MAC serial`; newer firmware turned the octets
 * of each word round, so every second board sends them the other way. A Pi 4
 * tries once more 5 s after a failed transfer; a Pi 5 hangs with a black screen.
 */

import { type MacAddress, parseMacAddress } from "#protocol/brand.ts";
import type { Board, BoardSettings } from "../board.ts";
import {
  dotted,
  latin1,
  type OptionList,
  type Reply,
  readReply,
  selecting,
  sendMessage,
  takeAddress,
} from "../dhcp-client.ts";
import { type Ending, type FileServer, failed, type Program, pause } from "../program.ts";
import type { TftpHabits } from "../tftp-reader.ts";
import type { Firmware } from "./firmware.ts";
import {
  consider,
  explainSilence,
  FetchFailed,
  fileSystem,
  firstOf,
  type Get,
  loadKernel,
  type Offers,
  raspberryPiOptions,
  readFirmwareConfig,
} from "./raspberry-pi.ts";

const requestPeriodMs = 4000; // DHCP_REQ_TIMEOUT
const dhcpMs = 45_000; // DHCP_TIMEOUT
const fileMs = 30_000; // TFTP_FILE_TIMEOUT
const pauseMs = 5000; // after a failed transfer

interface Model {
  readonly name: "pi4" | "pi5";
  readonly about: string;
  readonly firstMac: MacAddress;
  /** First word of option 97, as it reads. */
  readonly fourCc: string;
  readonly revision: number;
  readonly blockSize: number;
  /** Runs before config.txt; a Pi 5 has it in its EEPROM. */
  readonly starters: readonly string[];
  readonly probes: readonly string[];
  readonly kernels: readonly string[];
  readonly deviceTrees: readonly string[];
  /** Rounds of network boot after which it gives up. */
  readonly rounds: number;
}

export const pi4 = firmwareOf({
  name: "pi4",
  about: "Raspberry Pi 4, 400 and CM4: EEPROM",
  firstMac: parseMacAddress("dc:a6:32:5a:00:01"),
  fourCc: "RPi4",
  revision: 0x00c03112,
  blockSize: 1024,
  starters: ["start4.elf", "start.elf"],
  probes: ["fixup4.dat", "recovery.elf", "dt-blob.bin", "bootcfg.txt"],
  kernels: ["kernel8.img", "kernel7l.img"],
  deviceTrees: ["bcm2711-rpi-4-b.dtb"],
  rounds: 2,
});

export const pi5 = firmwareOf({
  name: "pi5",
  about: "Raspberry Pi 5, 500 and CM5: EEPROM",
  firstMac: parseMacAddress("2c:cf:67:5a:00:01"),
  fourCc: "RPi5",
  revision: 0x00d04170,
  blockSize: 1468,
  starters: [],
  probes: ["overlays/overlay_map.dtb"],
  kernels: ["kernel_2712.img", "kernel8.img"],
  deviceTrees: ["bcm2712-rpi-5-b.dtb", "bcm2712d0-rpi-5-b.dtb"],
  rounds: 1,
});

function firmwareOf(model: Model): Firmware {
  return {
    name: model.name,
    about: model.about,
    firstMac: model.firstMac,
    station: { ttl: 64, udpChecksum: true, answersArp: "always" },
    *boot(board): Program<Ending> {
      for (let round = 1; ; round++) {
        const ending = yield* tryNetwork(board, model);
        if (ending.outcome !== "failed" || round === model.rounds) return ending;
        board.note("retry", `${ending.reason}; once more in ${pauseMs / 1000} s`);
        yield* pause(board.station.now + pauseMs);
      }
    },
  };
}

function* tryNetwork(board: Board, model: Model): Program<Ending> {
  board.station.address = 0;
  const offers: Offers = { address: undefined, boot: undefined };
  const boot = yield* configureAddress(board, model, offers);
  if (!boot) return explainSilence(board, offers, `${dhcpMs / 1000} s`);
  const mac = yield* board.station.resolve(boot.address);
  if (!mac) return failed(`no ARP answer of ${dotted(boot.address)}`);
  try {
    return yield* load(board, model, { address: boot.address, mac });
  } catch (error) {
    if (!(error instanceof FetchFailed)) throw error;
    return failed(model.rounds > 1 ? error.message : `${error.message}; it hangs there`);
  }
}

function* configureAddress(
  board: Board,
  model: Model,
  offers: Offers,
): Program<{ readonly address: number } | undefined> {
  const { station } = board;
  const ends = station.now + dhcpMs;
  const xid = Math.floor(board.settings.random() * 0x1_0000_0000);
  const told: OptionList = [[97, machineOf(board, model)]];
  const requested = [
    55,
    Uint8Array.of(1, 3, 43, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135),
  ] as const;
  let chosen: Reply | undefined;
  while (station.now < ends) {
    if (chosen) {
      board.note("request", `REQUEST ${dotted(chosen.offered)}`);
      // without option 60 (rpi-eeprom#82)
      const options = [...selecting(chosen), requested, ...raspberryPiOptions.slice(0, 2), ...told];
      sendMessage(station, { type: "request", xid, secs: 0, flags: 0, options });
    } else {
      board.note("discover", "DISCOVER");
      const options = [requested, ...raspberryPiOptions, ...told];
      sendMessage(station, { type: "discover", xid, secs: 0, flags: 0, options });
    }
    const until = Math.min(ends, station.now + requestPeriodMs);
    const reply: Reply | undefined = yield* answer(board, xid, until, chosen, offers);
    if (reply?.type === "ack") {
      takeAddress(station, reply);
      board.note("ack", dotted(station.address));
      return { address: (offers.boot ?? reply).nextServer };
    }
    chosen = reply?.type === "offer" ? reply : undefined;
  }
  return undefined;
}

/** An ACK or NAK when one is due, or the OFFER to take: address and boot service are both there. */
function* answer(
  board: Board,
  xid: number,
  until: number,
  chosen: Reply | undefined,
  offers: Offers,
): Program<Reply | undefined> {
  for (;;) {
    const arrival = yield until;
    if (!arrival) return undefined;
    const reply = readReply(board.station, arrival, xid);
    if (!reply || reply.isForAnother) continue;
    if (chosen) {
      if (reply.type !== "offer") return reply;
      continue;
    }
    if (reply.type !== "offer") continue;
    consider(board, reply, offers);
    if (offers.address && offers.boot) return offers.address;
  }
}

/** The serial is not derived from the hardware address; a simulated board needs one all the same. */
export function serialOf({
  settings,
}: {
  readonly settings: Pick<BoardSettings, "index">;
}): number {
  return (0x1000_0000 + settings.index * 0x01_01 + 0xab) >>> 0;
}

function machineOf(board: Board, model: Model): Uint8Array {
  const out = new Uint8Array(17);
  const view = new DataView(out.buffer);
  const turned = board.settings.index % 2 === 1;
  const fourCc = [...model.fourCc].reduce((sum, one) => sum * 256 + one.charCodeAt(0), 0);
  const mac = Number.parseInt(board.station.mac.replaceAll(":", "").slice(4), 16);
  for (const [word, value] of [fourCc, model.revision, mac, serialOf(board)].entries()) {
    // "RPi4" comes with little-endian numbers, "4iPR" with big-endian ones
    const isText = word === 0;
    view.setUint32(1 + word * 4, value, isText ? turned : !turned);
  }
  return out;
}

function* load(board: Board, model: Model, server: FileServer): Program<Ending> {
  const habits = habitsOf(model);
  let prefix = `${serialOf(board).toString(16).padStart(8, "0")}/`;
  const get = fileSystem(board, server, () => prefix);
  const first = model.starters.length > 0 ? model.starters : ["config.txt"];
  let started = yield* firstOf(get, first, habits);
  if (!started) {
    prefix = ""; // TFTP_PREFIX: without a directory of its own it uses the root
    started = yield* firstOf(get, first, habits);
  }
  if (!started) return failed(`no ${first[0]}`);
  const text = yield* configure(get, model, habits);
  return yield* loadKernel(get, {
    kernels: model.kernels,
    deviceTrees: model.deviceTrees,
    config: readFirmwareConfig(text, ["all", model.name]),
    habits,
  });
}

function* configure(get: Get, model: Model, habits: TftpHabits): Program<string> {
  const config = yield* get("config.txt", habits);
  for (const name of ["pieeprom.sig", ...model.probes]) yield* get(name, habits);
  return latin1(config?.content);
}

/** EEPROMs before 2025-09-23 do not roll the block counter over. */
function habitsOf(model: Model): TftpHabits {
  return {
    options: [
      ["tsize", "0"],
      ["blksize", String(model.blockSize)],
    ],
    retryMs: 1000,
    attempts: 30,
    fileTimeoutMs: fileMs,
    rollsOver: false,
  };
}
