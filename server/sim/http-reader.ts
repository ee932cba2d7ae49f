/**
 * One HTTP GET over a TCP connection of the board's own (RFC 9293, RFC 9112): as
 * much as a boot ROM needs. Segments that come early wait for those before them,
 * one connection for one file, no window scaling, no selective acknowledgement. The body must have a
 * Content-Length; chunked answers are refused as EDK2's do.
 */

import { crc32 } from "node:zlib";
import type { Board } from "./board.ts";
import { type TcpFrame, tcpFlags } from "./frame.ts";
import type { Arrival, FileServer, Moment, Program } from "./program.ts";
import type { Fetched } from "./tftp-reader.ts";

const defaultPort = 80;
const maximumSegment = 1460; // 1500 (Ethernet) - 20 (IPv4) - 20 (TCP)
const window = 65_535;
const retryMs = 1000;
const attempts = 8;
/** Silent seconds before the server counts as gone: iPXE waits for what TCP repeats, after many losses for long. */
const patience = 30;
const maximumHead = 16_384;
const closingMs = 200;
/** Segments that are kept until those before them have come; a window holds fewer. */
const mostEarly = 64;
const nothing = new Uint8Array(0);

export function* fetchByHttp(board: Board, server: FileServer, url: URL): Program<Fetched> {
  const begun = board.station.now;
  const connection = new Connection(board, server, Number(url.port || defaultPort));
  const name = url.href;
  const answer = new Answer(board);
  const refuse = (reason: string): Fetched => {
    board.note("retry", `${name}: ${reason}`);
    return { kind: "failed", reason: `${name}: ${reason}` };
  };
  if (!(yield* connection.open())) return refuse(`no connection to ${url.host}`);
  const request = `GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nUser-Agent: iPXE/1.0.0+git (simulated)\r\nConnection: close\r\n\r\n`;
  connection.say(Buffer.from(request, "latin1"));
  const wentWell = yield* connection.read((bytes) => answer.take(bytes));
  yield* connection.close();
  if (answer.problem !== undefined) return refuse(answer.problem);
  if (answer.status === 404) {
    board.note("not-found", name);
    return { kind: "not-found" };
  }
  if (answer.status === undefined) return refuse("no answer");
  if (answer.status !== 200) return refuse(`HTTP status ${answer.status}`);
  if (!wentWell || !answer.isComplete) return refuse(`cut off after ${answer.octets} octets`);
  const content = Uint8Array.from(Buffer.concat(answer.pieces));
  const { octets: bytes, checksum } = answer;
  board.fetched(name, { bytes, checksum, tookMs: board.station.now - begun, content });
  return { kind: "file", name, bytes, content };
}

/** Status, length and body, from the octets in their order. */
class Answer {
  status: number | undefined;
  problem: string | undefined;
  octets = 0;
  checksum = 0;
  readonly pieces: Uint8Array[] = [];
  readonly #board: Board;
  #head = "";
  #length: number | undefined;

  constructor(board: Board) {
    this.#board = board;
  }

  get isComplete(): boolean {
    return this.#length !== undefined && this.octets >= this.#length;
  }

  /** True when nothing more is wanted. */
  take(bytes: Uint8Array): boolean {
    if (this.#length !== undefined) this.#body(bytes);
    else this.#headers(bytes);
    return this.isComplete || this.problem !== undefined;
  }

  #headers(bytes: Uint8Array): void {
    const before = this.#head.length;
    this.#head += Buffer.from(bytes).toString("latin1");
    const end = this.#head.indexOf("\r\n\r\n");
    if (end < 0) {
      if (this.#head.length > maximumHead) this.problem = "the head of the answer does not end";
      return;
    }
    const head = this.#head.slice(0, end);
    this.status = Number(/^HTTP\/1\.[01] (?<status>\d{3})/.exec(head)?.groups?.["status"]);
    const length = /^content-length:\s*(?<length>\d+)\s*$/im.exec(head)?.groups?.["length"];
    if (length === undefined) {
      this.problem = "no Content-Length";
      return;
    }
    this.#length = Number(length);
    this.#body(bytes.subarray(end + 4 - before));
  }

  #body(bytes: Uint8Array): void {
    this.octets += bytes.length;
    this.checksum = crc32(bytes, this.checksum);
    this.#board.received += bytes.length;
    if (this.#board.keeps(this.octets)) this.pieces.push(bytes.slice());
  }
}

/** Part of the peer's stream. */
interface Piece {
  readonly sequence: number;
  readonly payload: Uint8Array;
  /** After it nothing comes. */
  readonly isEnd: boolean;
}

/** A TCP connection that speaks once and then only listens. */
class Connection {
  readonly #board: Board;
  readonly #server: FileServer;
  readonly #serverPort: number;
  readonly #port: number;
  /** Ours: next to send, and acknowledged by the peer. */
  #next: number;
  #acknowledged: number;
  /** Theirs: next expected. */
  #expected = 0;
  readonly #early: Piece[] = [];
  #unsent: Uint8Array = nothing;
  #peerEnded = false;
  #reset = false;

  constructor(board: Board, server: FileServer, serverPort: number) {
    this.#board = board;
    this.#server = server;
    this.#serverPort = serverPort;
    board.lastPort = board.lastPort >= 65535 ? 49152 : board.lastPort + 1;
    this.#port = board.lastPort;
    this.#next = Math.floor(board.settings.random() * 0x1_0000_0000);
    this.#acknowledged = this.#next;
  }

  *open(): Program<boolean> {
    const first = this.#next;
    for (let attempt = 0; attempt < attempts; attempt++) {
      this.#send(tcpFlags.syn, nothing, first);
      const until = this.#now + retryMs;
      for (;;) {
        const segment = mine(yield until, this.#port);
        if (segment === "none") break;
        if (segment === "other") continue;
        if (segment.flags & tcpFlags.reset) return false;
        if (!(segment.flags & tcpFlags.syn) || !(segment.flags & tcpFlags.ack)) continue;
        this.#next = add(first, 1);
        this.#acknowledged = this.#next;
        this.#expected = add(segment.sequence, 1);
        this.#send(tcpFlags.ack);
        return true;
      }
    }
    return false;
  }

  say(bytes: Uint8Array): void {
    this.#unsent = bytes;
    this.#send(tcpFlags.ack | tcpFlags.push, bytes);
  }

  /** Hands on what comes, in order, until `take` is content (true) or the connection ends or dies (false). */
  *read(take: (bytes: Uint8Array) => boolean): Program<boolean> {
    let left = patience;
    let deadline: Moment = this.#now + retryMs;
    while (left > 0) {
      const segment = mine(yield deadline, this.#port);
      if (segment === "other") continue;
      deadline = this.#now + retryMs;
      if (segment === "none") {
        left -= 1;
        this.#repeat();
        continue;
      }
      left = patience;
      if (segment.flags & tcpFlags.reset) {
        this.#reset = true;
        return false;
      }
      if (this.#hear(segment, take)) return true;
      if (this.#peerEnded) return false;
    }
    return false;
  }

  /** True when `take` has all it wants. */
  #hear(segment: TcpFrame, take: (bytes: Uint8Array) => boolean): boolean {
    if (segment.flags & tcpFlags.ack) {
      this.#acknowledged = segment.acknowledgement;
      if (this.#acknowledged === add(this.#next, this.#unsent.length)) {
        this.#next = this.#acknowledged;
        this.#unsent = nothing;
      }
    }
    const isEnd = (segment.flags & tcpFlags.fin) !== 0;
    if (segment.payload.length === 0 && !isEnd) return false;
    const { sequence } = segment;
    let isContent = false;
    if (!this.#isEarly(sequence)) {
      isContent = this.#accept({ sequence, payload: segment.payload, isEnd }, take);
    } else if (this.#early.length < mostEarly) {
      this.#early.push({ sequence, payload: Uint8Array.from(segment.payload), isEnd }); // a frame's octets are lent
    }
    while (!isContent) {
      const at = this.#early.findIndex((piece) => !this.#isEarly(piece.sequence));
      const [piece] = at < 0 ? [] : this.#early.splice(at, 1);
      if (!piece) break;
      isContent = this.#accept(piece, take);
    }
    this.#send(tcpFlags.ack); // after a gap or a repetition, too: it says where we are
    return isContent;
  }

  #isEarly(sequence: number): boolean {
    return ((sequence - this.#expected) | 0) > 0;
  }

  /** What is new of it. True when `take` has all it wants. */
  #accept({ sequence, payload, isEnd }: Piece, take: (bytes: Uint8Array) => boolean): boolean {
    const known = add(this.#expected, -sequence);
    const ended = isEnd ? 1 : 0;
    if (known >= payload.length + ended) return false;
    const fresh = payload.subarray(known);
    this.#expected = add(this.#expected, fresh.length + ended);
    this.#peerEnded = isEnd;
    return fresh.length > 0 && take(fresh);
  }

  /** Ends our half, and waits a moment for the other. */
  *close(): Program<void> {
    if (this.#reset) return;
    this.#send(tcpFlags.fin | tcpFlags.ack);
    this.#next = add(this.#next, 1);
    const until = this.#now + closingMs;
    while (!this.#peerEnded) {
      const segment = mine(yield until, this.#port);
      if (segment === "none") return;
      if (segment === "other") continue;
      if (segment.flags & tcpFlags.reset) return;
      this.#hear(segment, () => false);
    }
  }

  #repeat(): void {
    this.#board.repeated += 1;
    if (this.#unsent.length > 0) this.#send(tcpFlags.ack | tcpFlags.push, this.#unsent);
    else this.#send(tcpFlags.ack);
  }

  get #now(): Moment {
    return this.#board.station.now;
  }

  #send(flags: number, payload: Uint8Array = nothing, sequence = this.#next): void {
    const isOpening = (flags & tcpFlags.syn) !== 0;
    this.#board.station.sendTcp({
      destinationMac: this.#server.mac,
      destination: this.#server.address,
      sourcePort: this.#port,
      destinationPort: this.#serverPort,
      // after the request left unacknowledged, later segments follow it
      sequence: payload.length === 0 && !isOpening ? add(sequence, this.#unsent.length) : sequence,
      acknowledgement: isOpening ? 0 : this.#expected,
      flags,
      window,
      ...(isOpening && { maximumSegment }),
      payload,
    });
  }
}

function mine(arrival: Arrival | undefined, port: number): TcpFrame | "none" | "other" {
  if (!arrival) return "none";
  return arrival.kind === "tcp" && arrival.destinationPort === port ? arrival : "other";
}

const add = (sequence: number, octets: number): number => (sequence + octets) >>> 0;
