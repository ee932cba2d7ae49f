/**
 * All transfers of one interface: who may have one, which datagram belongs to
 * which, and when one has to be sent again.
 *
 *   client:49152 --RRQ--> server:69        the well-known port: requests
 *   client:49152 <-DATA-- server:35011     one port for all transfers; a client's
 *   client:49152 --ACK--> server:35011     address and port tell them apart
 *
 * A client that comes back from the same port is served from the spare port, so
 * that a late datagram of the transfer before cannot be taken for one of the next.
 *
 * Whether a peer is known and what a name means is asked of the room that knows
 * (`ask`), and comes back later (`answer`). Nothing is sent to a peer before it
 * is known, to a port below 1024, or for bytes that are no TFTP.
 */

import type { Milliseconds } from "#protocol/brand.ts";
import { createTokenBuckets } from "#protocol/token-bucket.ts";
import { PacketError } from "../errors.ts";
import { decodePacket, encodePacket, errorCode, type TftpRequest } from "./codec.ts";
import { datagramOctets, planTransfer } from "./terms.ts";
import {
  acknowledgedBytes,
  advance,
  isInTail,
  type Step,
  startTransfer,
  type Transfer,
  type TransferEvent,
} from "./transfer.ts";
import type { Channel, Content, Via, Wire } from "./wire.ts";

export interface TransferLimits {
  readonly transfers: number;
  readonly transfersPerPeer: number;
}

/** A request whose sender and name somebody else must judge. */
export interface Question {
  readonly id: number;
  readonly address: number;
  readonly request: TftpRequest;
}

export type Answer =
  | {
      readonly kind: "content";
      readonly id: number;
      readonly content: Content;
      /** Of the interface; a DATA packet never exceeds it. */
      readonly largestDatagram: number;
      readonly mtu: number;
    }
  | {
      readonly kind: "refused";
      readonly id: number;
      readonly code: number;
      readonly message: string;
    }
  /** The peer is not known: nothing is said. */
  | { readonly kind: "silence"; readonly id: number };

export interface Ended {
  readonly address: number;
  readonly name: string;
  readonly bytes: number;
  readonly outcome: "sent" | "aborted";
}

/** Since the start; read by metrics. */
export interface TransferCounts {
  /** Datagrams received. */
  received: number;
  /** Times a timer or a repeated ACK made datagrams leave again. */
  repeated: number;
  /** Requests without an answer, by what was wrong. */
  malformed: number;
  lowPort: number;
  unknown: number;
  tooMany: number;
}

export interface TransfersContext {
  readonly wire: Wire;
  readonly limits: TransferLimits;
  ask(question: Question): void;
  ended(report: Ended): void;
}

/** Ports below belong to servers: an answer would go to one of another's choosing. */
const firstClientPort = 1024;
/** Questions that wait for their answer. */
const maxQuestions = 256;
/** Ends of transfers remembered, for late datagrams and for the choice of the port. */
const maxRemembered = 4096;
const rememberFor = 60_000;
/** A Raspberry Pi tries some thirty names in a row; a node that asks on is broken or hostile. */
const requestsOfOne = { burst: 200, perSecond: 50, sources: 4096 } as const;
/** Of all peers that were never known: they cost a question each. */
const requestsOfStrangers = { burst: 500, perSecond: 200, sources: 1 } as const;
const errorsOfOne = { burst: 100, perSecond: 20, sources: 4096 } as const;
/** A client that has not moved on for longer is not waited for when the server ends, and may begin anew. */
const liveliness = 2000;

const ackOpcode = 4;

interface Running {
  readonly key: number;
  readonly channel: Channel;
  readonly request: TftpRequest;
  readonly content: Content;
  readonly fragmented: boolean;
  transfer: Transfer;
  /** Monotonic milliseconds. */
  due: number;
}

interface End {
  readonly via: Via;
  readonly at: number;
  /** We gave the client up: should it come back, it is told. */
  readonly givenUp: boolean;
}

interface Asked {
  readonly key: number;
  readonly address: number;
  readonly port: number;
  readonly request: TftpRequest;
}

export class Transfers {
  readonly counts: TransferCounts = {
    received: 0,
    repeated: 0,
    malformed: 0,
    lowPort: 0,
    unknown: 0,
    tooMany: 0,
  };
  readonly #context: TransfersContext;
  readonly #running = new Map<number, Running>();
  readonly #perPeer = new Map<number, number>();
  readonly #questions = new Map<number, Asked>();
  /** Keys of `#questions`. */
  readonly #asking = new Map<number, number>();
  /** Transfers that ended lately, and the port they had. */
  readonly #ended = new Map<number, End>();
  /** Addresses that were known lately. */
  readonly #known = new Map<number, number>();
  readonly #requestsOfOne = createTokenBuckets(requestsOfOne);
  readonly #requestsOfStrangers = createTokenBuckets(requestsOfStrangers);
  readonly #errors = createTokenBuckets(errorsOfOne);
  #nextQuestion = 1;
  /** No transfer is due before. */
  #nextDue = Number.POSITIVE_INFINITY;
  #closing = false;

  constructor(context: TransfersContext) {
    this.#context = context;
  }

  get size(): number {
    return this.#running.size;
  }

  /** The datagram's octets are `bytes` from `start`; they are not kept. */
  receive(bytes: Uint8Array, start: number, length: number, channel: Channel, at: number): void {
    this.counts.received += 1;
    const isAck = length >= 4 && bytes[start] === 0 && bytes[start + 1] === ackOpcode;
    if (isAck && channel.via !== "requests") {
      const block = (bytes[start + 2] ?? 0) * 256 + (bytes[start + 3] ?? 0);
      const running = this.#running.get(keyOf(channel));
      if (running?.channel.via === channel.via) {
        this.#apply(running, advance(running.transfer, { kind: "ack", block, at }), at);
      } else this.#refuseStranger(channel, at);
      return;
    }
    this.#other(bytes.subarray(start, start + length), channel, at);
  }

  #other(bytes: Uint8Array, channel: Channel, at: number): void {
    try {
      const packet = decodePacket(bytes);
      if (packet.kind === "read" || packet.kind === "write") {
        if (channel.via === "requests") this.#request(packet, channel, at);
        else this.#refuseStranger(channel, at);
      } else if (packet.kind === "error") this.#endedByClient(channel, at);
      else this.#refuseStranger(channel, at);
    } catch (error) {
      if (!(error instanceof PacketError)) throw error;
      this.counts.malformed += 1;
    }
  }

  #endedByClient(channel: Channel, at: number): void {
    const running = this.#running.get(keyOf(channel));
    if (running?.channel.via !== channel.via) return; // never an ERROR for an ERROR
    this.#apply(running, advance(running.transfer, { kind: "error" }), at);
  }

  #request(request: TftpRequest, from: Channel, at: number): void {
    if (this.#closing) return;
    if (from.port < firstClientPort) {
      this.counts.lowPort += 1;
      return;
    }
    const key = keyOf(from);
    if (this.#asking.has(key) || this.#isAnswering(key, request, at)) return; // said twice
    if (!this.#mayAsk(from.address, at)) {
      this.counts.tooMany += 1;
      return; // silence: a firmware asks again, an error would end its boot
    }
    const id = this.#nextQuestion++;
    this.#questions.set(id, { key, address: from.address, port: from.port, request });
    this.#asking.set(key, id);
    this.#context.ask({ id, address: from.address, request });
  }

  /**
   * True while the client may repeat its request only because it has heard nothing
   * yet, or the network repeats it. A node that was reset begins anew later.
   */
  #isAnswering(key: number, request: TftpRequest, at: number): boolean {
    const running = this.#running.get(key);
    if (!running || running.request.name !== request.name) return false;
    const { heard, progressAt } = running.transfer;
    return !heard || at - progressAt < liveliness;
  }

  #mayAsk(address: number, at: number): boolean {
    const now = at as Milliseconds;
    if (this.#questions.size >= maxQuestions) return false;
    if (!this.#requestsOfOne.take(String(address), now)) return false;
    return this.#isKnown(address, at) || this.#requestsOfStrangers.take("", now);
  }

  #isKnown(address: number, at: number): boolean {
    const known = this.#known.get(address);
    return known !== undefined && at - known < rememberFor;
  }

  /** What became of a question; late answers and those to nobody do nothing. */
  answer(answer: Answer, at: number): void {
    const asked = this.#questions.get(answer.id);
    if (!asked) return;
    this.#questions.delete(answer.id);
    this.#asking.delete(asked.key);
    if (answer.kind === "silence") {
      this.counts.unknown += 1;
      this.#known.delete(asked.address);
      return;
    }
    remember(this.#known, asked.address, at);
    const { address, port } = asked;
    if (answer.kind === "refused") {
      const { code, message } = answer;
      this.#refuse({ address, port, via: "requests" }, code, message, at);
      return;
    }
    if (!this.#closing) this.#start(asked, answer, at);
  }

  #start(asked: Asked, answer: Answer & { readonly kind: "content" }, at: number): void {
    const { key, address, port, request } = asked;
    const before = this.#running.get(key);
    if (before) this.#end(before, at);
    if (!this.#makeRoom(address, at)) {
      this.counts.tooMany += 1;
      return;
    }
    const plan = planTransfer(request, answer.content.bytes.length, answer.largestDatagram);
    const used = this.#ended.get(key);
    const via = used?.via === "transfers" && at - used.at < rememberFor ? "spare" : "transfers";
    const step = startTransfer(plan, at);
    const running: Running = {
      key,
      channel: { address, port, via },
      request,
      content: answer.content,
      fragmented: datagramOctets(plan) > answer.mtu,
      transfer: step.transfer,
      due: Number.POSITIVE_INFINITY,
    };
    this.#running.set(key, running);
    this.#perPeer.set(address, (this.#perPeer.get(address) ?? 0) + 1);
    this.#apply(running, step, at);
  }

  /** When all places are taken, whoever has never answered gives way: its address may be forged. */
  #makeRoom(address: number, at: number): boolean {
    const { transfers, transfersPerPeer } = this.#context.limits;
    if ((this.#perPeer.get(address) ?? 0) >= transfersPerPeer) {
      const spare = this.#first(
        ({ channel, transfer }) =>
          channel.address === address && (isInTail(transfer) || transfer.repeats > 1),
      );
      if (!spare) return false;
      this.#end(spare, at);
    }
    if (this.#running.size < transfers) return true;
    const unheard = this.#first(({ transfer }) => !transfer.heard);
    if (!unheard) return false;
    this.#end(unheard, at);
    return true;
  }

  #first(fits: (running: Running) => boolean): Running | undefined {
    return this.#running.values().find(fits);
  }

  #apply(running: Running, step: Step, at: number): void {
    running.transfer = step.transfer;
    if (step.transfer.phase === "finished") {
      this.#forget(running, at);
      return;
    }
    const { send } = step;
    if (send.kind === "blocks") {
      const { content, channel, fragmented } = running;
      const { blockBytes } = step.transfer.plan;
      const { first, count } = send;
      if (!step.transfer.fresh) this.counts.repeated += count;
      this.#context.wire.blocks(channel, { content, blockBytes, first, count, fragmented });
    } else if (send.kind === "option-ack") {
      if (step.transfer.repeats > 0) this.counts.repeated += 1;
      const options = step.transfer.plan.granted;
      this.#context.wire.packet(running.channel, encodePacket({ kind: "option-ack", options }));
    }
    if (step.wait === undefined) return;
    running.due = at + step.wait;
    if (running.due < this.#nextDue) this.#nextDue = running.due;
  }

  #end(running: Running, at: number): void {
    this.#apply(running, advance(running.transfer, { kind: "error" }), at);
  }

  #forget(running: Running, at: number): void {
    const { key, channel, request, transfer } = running;
    this.#running.delete(key);
    const left = (this.#perPeer.get(channel.address) ?? 1) - 1;
    if (left > 0) this.#perPeer.set(channel.address, left);
    else this.#perPeer.delete(channel.address);
    const givenUp = transfer.outcome === "aborted" && transfer.repeats > 0;
    remember(this.#ended, key, { via: channel.via, at, givenUp });
    this.#context.ended({
      address: channel.address,
      name: request.name,
      bytes: acknowledgedBytes(transfer),
      outcome: transfer.outcome ?? "aborted",
    });
  }

  /** Sends again what is due; an ACK only moves the time, so most passes touch nothing. */
  expire(at: number): void {
    if (at < this.#nextDue) return;
    let next = Number.POSITIVE_INFINITY;
    for (const running of [...this.#running.values()]) {
      if (running.due <= at) {
        const event: TransferEvent = { kind: "timeout", at };
        this.#apply(running, advance(running.transfer, event), at);
      }
      if (running.transfer.phase !== "finished") next = Math.min(next, running.due);
    }
    this.#nextDue = next;
  }

  /** Monotonic milliseconds; `expire` has nothing to do before. Infinite without transfers. */
  get nextDue(): number {
    return this.#nextDue;
  }

  /** RFC 1350 §4: a stranger's datagram does not disturb the transfer. It is told so if it is known. */
  #refuseStranger(from: Channel, at: number): void {
    const key = keyOf(from);
    if (this.#ended.get(key)?.givenUp === false || !this.#isKnown(from.address, at)) return;
    this.#refuse(from, errorCode.unknownTransfer, "unknown transfer id", at);
  }

  #refuse(to: Channel, code: number, message: string, at: number): void {
    if (to.port < firstClientPort || !this.#errors.take(String(to.address), at as Milliseconds)) {
      return;
    }
    this.#context.wire.packet(to, encodePacket({ kind: "error", code, message }));
  }

  /** No new transfer from now on; those of clients that have gone silent end at once. */
  beginClosing(at: number): void {
    this.#closing = true;
    this.#questions.clear();
    this.#asking.clear();
    this.endSilent(at);
  }

  endSilent(at: number): void {
    for (const running of [...this.#running.values()]) {
      const { heard, progressAt } = running.transfer;
      if (!heard || at - progressAt > liveliness) this.#end(running, at);
    }
  }

  endAll(at: number): void {
    for (const running of [...this.#running.values()]) this.#end(running, at);
  }
}

/** Address and port as one number below 2^48. */
function keyOf({ address, port }: Channel): number {
  return address * 65536 + port;
}

/** Used last comes last; the oldest is forgotten first. */
function remember<Key, Value>(map: Map<Key, Value>, key: Key, value: Value): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= maxRemembered) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}
