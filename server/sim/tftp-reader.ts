/**
 * A TFTP reader (RFC 1350, 2347-2349, 7440) with the habits of boot firmware:
 * a size probe that it breaks off, a file opened twice, no answer to a repeated
 * block, a patience of its own.
 */

import { crc32 } from "node:zlib";
import { PacketError } from "../errors.ts";
import { decodePacket, encodePacket, type TftpOptions, type TftpPacket } from "../tftp/codec.ts";
import type { Board } from "./board.ts";
import type { Arrival, FileServer, Moment, Program } from "./program.ts";

export interface TftpHabits {
  /** In the request, as this firmware spells and orders them. */
  readonly options: TftpOptions;
  /** The file is asked for once before, to learn its size; that request is ended with this ERROR. */
  readonly probe?: {
    readonly options: TftpOptions;
    readonly code: number;
    readonly message: string;
  };
  /** A second request for the same file follows some milliseconds after the first (raspberrypi/firmware#1700). */
  readonly doubled?: boolean;
  /** True: every block but the expected one is answered with an ACK of the last good one, repetitions too. */
  readonly answersUnexpected?: boolean;
  readonly retryMs: number;
  /** Packets sent without any answer before it gives up. */
  readonly attempts: number;
  /** Most time for one file. */
  readonly fileTimeoutMs?: number;
  /** False: the block counter stops at 65535, and a longer file is lost. */
  readonly rollsOver: boolean;
}

export type Fetched =
  | {
      readonly kind: "file";
      readonly name: string;
      readonly bytes: number;
      readonly content: Uint8Array;
    }
  | { readonly kind: "not-found" }
  | { readonly kind: "failed"; readonly reason: string };

const tftpPort = 69;
const doubledAfterMs = 7; // 5-9 ms were seen
const fileNotFound = 1;
const defaultBlockSize = 512;
const lastBlock = 65535;
const firstPort = 49152;

interface ReaderSettings {
  readonly server: FileServer;
  readonly name: string;
  readonly port: number;
  readonly options: TftpOptions;
  readonly habits: TftpHabits;
  readonly isProbe: boolean;
}

/** One transfer: what the server sends goes in, the answers go out by the board's station. */
class Reader {
  readonly port: number;
  readonly pieces: Uint8Array[] = [];
  ending: "done" | "not-found" | { readonly reason: string } | undefined;
  deadline: Moment = 0;
  octets = 0;
  checksum = 0;
  readonly #board: Board;
  readonly #settings: ReaderSettings;
  #last: Uint8Array;
  #serverPort: number | undefined;
  #left: number;
  #blockSize = defaultBlockSize;
  #windowSize = 1;
  /** The next block, counted without roll-over. */
  #expected = 1;
  #sinceAck = 0;
  #gapTold = false;

  constructor(board: Board, settings: ReaderSettings) {
    this.#board = board;
    this.#settings = settings;
    this.port = settings.port;
    this.#left = settings.habits.attempts;
    const { name, options } = settings;
    this.#last = encodePacket({ kind: "read", name, mode: "octet", options });
    this.#send(this.#last);
  }

  /** Nothing was heard until the deadline. */
  tick(): void {
    this.#left -= 1;
    if (this.#left === 0) {
      this.ending = { reason: "the TFTP server fell silent" };
      return;
    }
    this.#board.repeated += 1;
    this.#sinceAck = 0;
    this.#send(this.#last);
  }

  hear(arrival: Arrival): void {
    if (arrival.kind !== "udp" || this.ending !== undefined) return;
    if (arrival.source !== this.#settings.server.address) return;
    if (this.#serverPort !== undefined && arrival.sourcePort !== this.#serverPort) return;
    const packet = decode(arrival.payload);
    if (!packet) return;
    this.#serverPort = arrival.sourcePort;
    this.#left = this.#settings.habits.attempts;
    if (packet.kind === "error") {
      const { code, message } = packet;
      this.ending = code === fileNotFound ? "not-found" : { reason: `ERROR ${code}: ${message}` };
    } else if (this.#settings.isProbe) this.#breakOff();
    else if (packet.kind === "option-ack") this.#begin(packet.options);
    else if (packet.kind === "data") this.#take(packet.block, packet.bytes);
  }

  #begin(options: TftpOptions): void {
    const said = new Map(options);
    this.#blockSize = Number(said.get("blksize") ?? defaultBlockSize);
    this.#windowSize = Number(said.get("windowsize") ?? 1);
    this.#acknowledge(0);
  }

  /** The file exists, and its size was told or is of no interest. */
  #breakOff(): void {
    const { code = 0, message = "" } = this.#settings.habits.probe ?? {};
    this.#send(encodePacket({ kind: "error", code, message }));
    this.ending = "done";
  }

  #take(block: number, bytes: Uint8Array): void {
    if (block !== this.#expected % 65536) {
      this.#misplaced(block);
      return;
    }
    this.octets += bytes.length;
    this.checksum = crc32(bytes, this.checksum);
    if (this.#board.keeps(this.octets)) this.pieces.push(bytes.slice());
    this.#board.received += bytes.length;
    this.#board.station.hasData = true;
    this.#gapTold = false;
    this.#sinceAck += 1;
    const isLast = bytes.length < this.#blockSize;
    if (isLast) this.ending = "done";
    else if (this.#expected === lastBlock && !this.#settings.habits.rollsOver) {
      this.ending = {
        reason: "longer than 65535 blocks: this firmware's block counter ends there",
      };
    }
    if (isLast || this.#sinceAck >= this.#windowSize) this.#acknowledge(block);
    else this.#wait();
    this.#expected += 1;
  }

  /** A repetition is not answered: that would double every later block. A gap is told once (RFC 7440 §4). */
  #misplaced(block: number): void {
    const ahead = (block - (this.#expected % 65536) + 65536) % 65536;
    const isRepetition = ahead >= 32768;
    if (isRepetition) this.#board.repetitionsHeard += 1;
    if (!this.#settings.habits.answersUnexpected && (isRepetition || this.#gapTold)) return;
    this.#gapTold = true;
    this.#acknowledge((this.#expected - 1) % 65536);
  }

  #acknowledge(block: number): void {
    this.#sinceAck = 0;
    this.#last = encodePacket({ kind: "ack", block });
    this.#send(this.#last);
  }

  #send(payload: Uint8Array): void {
    const { server } = this.#settings;
    this.#board.station.sendUdp({
      to: server.address,
      toMac: server.mac,
      toPort: this.#serverPort ?? tftpPort,
      fromPort: this.port,
      payload,
    });
    this.#wait();
  }

  #wait(): void {
    this.deadline = this.#board.station.now + this.#settings.habits.retryMs;
  }
}

function decode(payload: Uint8Array): TftpPacket | undefined {
  try {
    return decodePacket(payload);
  } catch (error) {
    if (error instanceof PacketError) return undefined;
    throw error;
  }
}

/** Fetches one file, with the probe before it and its twin beside it where the firmware has them. */
export function* fetchByTftp(
  board: Board,
  server: FileServer,
  name: string,
  habits: TftpHabits,
): Program<Fetched> {
  const begun = board.station.now;
  const ends = begun + (habits.fileTimeoutMs ?? Number.POSITIVE_INFINITY);
  const ask = (options: TftpOptions, isProbe: boolean) =>
    new Reader(board, { server, name, port: nextPort(board), options, habits, isProbe });
  if (habits.probe) {
    const probe = ask(habits.probe.options, true);
    yield* transfer(board, [probe], ends);
    const missing = failureOf(board, name, probe);
    if (missing) return missing;
  }
  const reader = ask(habits.options, false);
  const readers = [reader];
  if (habits.doubled && !board.settings.opensOnce) {
    yield* transfer(board, readers, board.station.now + doubledAfterMs);
    readers.push(ask(habits.options, false));
  }
  yield* transfer(board, readers, ends);
  const failure = failureOf(board, name, reader);
  if (failure) return failure;
  const { octets: bytes, checksum } = reader;
  const content = join(reader.pieces);
  board.fetched(name, { bytes, checksum, tookMs: board.station.now - begun, content });
  return { kind: "file", name, bytes, content };
}

/** Runs until every reader has ended or the time is over. */
function* transfer(board: Board, readers: readonly Reader[], ends: Moment): Program<void> {
  for (;;) {
    const running = readers.filter((reader) => reader.ending === undefined);
    if (running.length === 0 || board.station.now >= ends) return;
    const arrival = yield Math.min(ends, ...running.map((reader) => reader.deadline));
    if (arrival) running.find(({ port }) => port === arrival.destinationPort)?.hear(arrival);
    else tickOverdue(running, board.station.now);
  }
}

function tickOverdue(readers: readonly Reader[], now: Moment): void {
  for (const reader of readers) if (reader.deadline <= now) reader.tick();
}

function failureOf(
  board: Board,
  name: string,
  { ending }: Reader,
): Exclude<Fetched, { readonly kind: "file" }> | undefined {
  if (ending === "done") return undefined;
  if (ending === "not-found") {
    board.note("not-found", name);
    return { kind: "not-found" };
  }
  const reason = `${name}: ${ending?.reason ?? "not complete in the time this firmware gives a file"}`;
  board.note("retry", reason);
  return { kind: "failed", reason };
}

/** A new source port for every request, from the range of IANA's dynamic ports. */
function nextPort(board: Board): number {
  board.lastPort = board.lastPort === 65535 ? firstPort : Math.max(firstPort, board.lastPort + 1);
  return board.lastPort;
}

function join(pieces: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(pieces));
}
