/**
 * Many boards on one interface, in one process: frames in, frames out, and a
 * verdict. Boards are told apart by their hardware addresses; a broadcast goes to
 * all of them, as on a switch.
 */

import { type MacAddress, parseMacAddress } from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";
import { Board, type BoardSettings, type FetchedFile } from "./board.ts";
import { dotted } from "./dhcp-client.ts";
import type { Firmware } from "./firmware/firmware.ts";
import { isBroadcast, macKey } from "./frame.ts";
import type { FrameSocket } from "./packet-socket.ts";
import type { Ending, Moment, Step } from "./program.ts";

export interface SimulationSettings {
  readonly firmware: Firmware;
  readonly count: number;
  /** Number of the first board, which serials are made from. Default 0. */
  readonly firstIndex?: number;
  /** Between the power-ons of two boards; 0: all together. */
  readonly staggerMs: number;
  /** Of the first board; the others count up. Default: the firmware's. */
  readonly firstMac?: MacAddress;
  /** Other machines with the same hardware addresses, as cloned ones are. Default 0. */
  readonly machine?: number;
  /** Per board, from its power-on. */
  readonly timeoutMs: number;
  /** Instead of what the firmware does about ARP requests. */
  readonly answersArp?: "always" | "never";
  /** No file is opened twice at once, though the firmware would. */
  readonly opensOnce?: boolean;
  /** Files up to this size are kept whole for {@link SimulationContext.onFile}; at least what firmware reads. */
  readonly keepOctets?: number;
}

export interface SimulationContext {
  readonly socket: FrameSocket;
  readonly clock: Pick<Clock, "monotonic">;
  readonly random: () => number;
  readonly onStep?: BoardSettings["onStep"];
  readonly onFile?: BoardSettings["onFile"];
}

export interface BoardResult {
  readonly mac: MacAddress;
  readonly address?: string;
  readonly ending: Ending;
  /** From its power-on to its ending. */
  readonly tookMs: number;
  readonly bytes: number;
  readonly files: readonly FetchedFile[];
  readonly discovers: number;
  /** Packets it had to send again, and blocks it heard again. */
  readonly repeated: number;
  readonly repetitionsHeard: number;
  readonly steps: readonly Step[];
}

export interface SimulationResult {
  readonly firmware: string;
  readonly count: number;
  readonly booted: number;
  /** From the first power-on to the last ending. */
  readonly tookMs: number;
  readonly boards: readonly BoardResult[];
}

export const maximumBoards = 1000;
/** config.txt, scripts, and what else firmware itself reads. */
const leastKept = 65_536;
/** While frames have come lately, waiting is done without leaving the thread: it is quicker. */
const busyMs = 20;
const busyWaitMs = 1;
/** The longest sleep: an abort is seen that late. */
const idleMs = 100;
/** Turns of the loop after which signals and timers get their chance. */
const turnsAtOnce = 64;

/** @throws RangeError when there are more than {@link maximumBoards}; what the socket throws. */
export async function simulate(
  settings: SimulationSettings,
  context: SimulationContext,
  signal: AbortSignal,
): Promise<SimulationResult> {
  const { socket, clock } = context;
  const begun: Moment = clock.monotonic();
  const boards = makeBoards(settings, context, begun);
  const byMac = new Map(boards.map((board) => [macKey(board.station.macBytes), board]));
  const deliver = (frame: Uint8Array) => {
    const now = clock.monotonic();
    if (isBroadcast(frame)) for (const board of boards) board.hear(frame, now);
    else byMac.get(macKey(frame))?.hear(frame, now);
  };
  let heardAt: Moment = begun;
  for (let turn = 0; boards.some((board) => !board.ending) && !signal.aborted; turn++) {
    const count = socket.receive(deliver);
    const now = clock.monotonic();
    if (count > 0) heardAt = now;
    const next = wakeAll(boards, now);
    socket.flush();
    if (count > 0 && turn % turnsAtOnce !== 0) continue;
    const isBusy = now - heardAt < busyMs;
    const longest = isBusy && turn % turnsAtOnce !== 0 ? busyWaitMs : idleMs;
    const wait = Math.max(0, Math.min(longest, Math.ceil(next - clock.monotonic())));
    await socket.readable(count > 0 ? 0 : wait, longest === busyWaitMs);
  }
  const now = clock.monotonic();
  for (const board of boards) board.end({ outcome: "failed", reason: "interrupted" }, now);
  return judge(settings, boards, begun);
}

/** Wakes whoever is due; the time at which the next one is. */
function wakeAll(boards: readonly Board[], now: Moment): Moment {
  let next = Number.POSITIVE_INFINITY;
  for (const board of boards) {
    if (board.deadline <= now) board.wake(now);
    if (board.deadline < next) next = board.deadline;
  }
  return next;
}

function makeBoards(
  settings: SimulationSettings,
  context: SimulationContext,
  begun: Moment,
): readonly Board[] {
  const { firmware, count, staggerMs, timeoutMs, answersArp, opensOnce } = settings;
  if (!Number.isInteger(count) || count < 1 || count > maximumBoards) {
    throw new RangeError(`${count} boards: 1 to ${maximumBoards} can be simulated`);
  }
  const first = macNumber(settings.firstMac ?? firmware.firstMac);
  return Array.from({ length: count }, (_, index) => {
    const board: BoardSettings = {
      index: (settings.firstIndex ?? 0) + index,
      mac: macFromNumber(first + index),
      machine: settings.machine ?? 0,
      firmware,
      poweredAt: begun + index * staggerMs,
      timeoutMs,
      ...(answersArp && { answersArp }),
      ...(opensOnce && { opensOnce }),
      keepOctets: Math.max(leastKept, settings.keepOctets ?? 0),
      random: context.random,
      ...(context.onStep && { onStep: context.onStep }),
      ...(context.onFile && { onFile: context.onFile }),
    };
    return new Board(board, (frame) => context.socket.send(frame));
  });
}

function judge(
  settings: SimulationSettings,
  boards: readonly Board[],
  begun: Moment,
): SimulationResult {
  const holders = new Map<number, number>();
  for (const { station } of boards) {
    holders.set(station.address, (holders.get(station.address) ?? 0) + 1);
  }
  const results = boards.map((board) => resultOf(board, holders.get(board.station.address) ?? 1));
  return {
    firmware: settings.firmware.name,
    count: boards.length,
    booted: results.filter(({ ending }) => ending.outcome === "booted").length,
    tookMs: Math.round(Math.max(...boards.map((board) => board.endedAt), begun) - begun),
    boards: results,
  };
}

/** @param sharers - boards with the same address: none of them would have got through on hardware */
function resultOf(board: Board, sharers: number): BoardResult {
  const { station, ending, endedAt, settings } = board;
  const shares = station.address !== 0 && sharers > 1;
  const verdict: Ending = shares
    ? { outcome: "failed", reason: `${sharers} boards have the address ${dotted(station.address)}` }
    : (ending ?? { outcome: "failed", reason: "interrupted" });
  return {
    mac: station.mac,
    ...(station.address !== 0 && { address: dotted(station.address) }),
    ending: verdict,
    tookMs: Math.round(Math.max(0, endedAt - settings.poweredAt)),
    bytes: board.received,
    files: board.files,
    discovers: board.steps.filter(({ kind }) => kind === "discover").length,
    repeated: board.repeated,
    repetitionsHeard: board.repetitionsHeard,
    steps: board.steps,
  };
}

function macNumber(mac: MacAddress): number {
  return Number.parseInt(mac.replaceAll(":", ""), 16);
}

function macFromNumber(value: number): MacAddress {
  const digits = value.toString(16).padStart(12, "0");
  return parseMacAddress(digits.replace(/..(?!$)/g, "$&:"));
}
