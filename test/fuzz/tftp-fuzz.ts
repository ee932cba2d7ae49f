/**
 * Hostile TFTP, in process: datagrams made by grammar and by damage to good ones
 * go through the transfers of an interface, from clients that boot, from strangers,
 * and from ports no client has; and everything that leaves is looked at.
 *
 *   bytes -> decode -> transfers (judge, answer, timers) -> encode -> decode
 *
 * The generator is seeded: the same seed makes the same datagrams.
 */

import {
  decodePacket,
  encodeData,
  encodePacket,
  type TftpPacket,
} from "../../server/tftp/codec.ts";
import { type Question, Transfers } from "../../server/tftp/transfers.ts";
import type { Channel, Via } from "../../server/tftp/wire.ts";
import { createRandom, type Random } from "../support/random.ts";

export interface TftpFuzzReport {
  readonly tried: number;
  /** Datagrams sent, by kind. */
  readonly sent: Readonly<Record<string, number>>;
  readonly counts: Readonly<Record<string, number>>;
  /** What must not happen, with the datagram in hexadecimal digits. */
  readonly faults: readonly string[];
  /** Processor time of the slowest thousand datagrams: a hang would stand out. */
  readonly slowestThousandMs: number;
  /** Octets in use after the first tenth and at the end, garbage collected where node was told to allow it. */
  readonly heapBefore: number;
  readonly heapAfter: number;
  /** Octets sent to strangers over octets received from them. */
  readonly amplification: number;
}

export interface TftpFuzzOptions {
  readonly seed: number;
  readonly datagrams: number;
  readonly onProgress?: (tried: number) => void;
}

const maximumFaults = 10;
const mtu = 1500;
const headers = 28; // IPv4, UDP
const maxWindow = 512;
const limits = { transfers: 64, transfersPerPeer: 4 } as const;
/** 10.77.0.0: those below 128 boot here. */
const network = 0x0a4d0000;
const isKnown = (address: number) => (address & 0xff) < 128;
const file = Uint8Array.from({ length: 20_000 }, (_, at) => at & 0xff);

export function fuzzTftp({ seed, datagrams, onProgress }: TftpFuzzOptions): TftpFuzzReport {
  const random = createRandom(seed);
  const world = createWorld();
  let slowestThousandMs = 0;
  let since = processorMs();
  let heapBefore = 0;
  for (let tried = 0; tried < datagrams; tried++) {
    if (tried === Math.floor(datagrams / 10)) heapBefore = heapUsed();
    if (tried % 100_000 === 0) onProgress?.(tried);
    world.try(makeDatagram(random), makeSender(random));
    if (tried % 1000 === 999) {
      const now = processorMs();
      slowestThousandMs = Math.max(slowestThousandMs, now - since);
      since = now;
    }
  }
  return {
    tried: datagrams,
    slowestThousandMs,
    heapBefore,
    heapAfter: heapUsed(),
    ...world.report(),
  };
}

function createWorld() {
  const sent: Record<string, number> = {};
  const faults: string[] = [];
  const strangers = { received: 0, sent: 0 };
  let now = 0;
  let current: Uint8Array = new Uint8Array(0);
  let answered = 0;
  const fault = (what: string) => {
    if (faults.length < maximumFaults) faults.push(`${what}: ${current.toHex()}`);
  };
  const leaves = (to: Channel, bytes: Uint8Array) => {
    answered += 1;
    if (!isKnown(to.address)) strangers.sent += bytes.length;
    if (to.port < 1024) fault(`sent to port ${to.port}`);
    if (bytes.length + headers > mtu) fault(`${bytes.length} octets are too many`);
    const { kind } = decodePacket(bytes);
    sent[kind] = (sent[kind] ?? 0) + 1;
  };
  const answer = ({ id, address, request }: Question) => {
    if (!isKnown(address)) return { kind: "silence", id } as const;
    if (request.kind === "write") return { kind: "refused", id, code: 2, message: "no" } as const;
    if (request.name === "x") return { kind: "refused", id, code: 1, message: "no" } as const;
    const content = { bytes: file };
    return { kind: "content", id, content, mtu, largestDatagram: mtu } as const;
  };
  const transfers: Transfers = new Transfers({
    limits,
    ask: (question) => transfers.answer(answer(question), now),
    ended: ({ bytes }) => {
      if (bytes > file.length) fault(`${bytes} octets of ${file.length} acknowledged`);
    },
    wire: {
      packet: leaves,
      blocks(to, { content, blockBytes, first, count }) {
        for (let block = first; block < first + count; block++) {
          const piece = content.bytes.subarray((block - 1) * blockBytes, block * blockBytes);
          leaves(to, encodeData(block & 0xffff, piece));
        }
      },
    },
  });
  return {
    try(bytes: Uint8Array, from: Channel): void {
      current = bytes;
      answered = 0;
      now += 5;
      if (!isKnown(from.address)) strangers.received += bytes.length;
      try {
        transfers.receive(bytes, 0, bytes.length, from, now);
        if (answered > maxWindow) fault(`${answered} datagrams for one`);
        transfers.expire(now);
        if (transfers.size > limits.transfers) fault(`${transfers.size} transfers`);
      } catch (error) {
        fault(String(error));
      }
    },
    report: () => ({
      sent,
      faults,
      counts: { ...transfers.counts },
      amplification: strangers.sent / Math.max(1, strangers.received),
    }),
  };
}

function makeSender(random: Random): Channel {
  const via = pick(random, ["requests", "requests", "transfers", "transfers", "spare"] as const);
  const port = random.below(20) === 0 ? random.below(1024) : 2000 + random.below(4);
  return { address: network + random.below(160), port, via: via satisfies Via };
}

const names = ["f", "f", "x", "", "../../etc/passwd", "/f", "größe", "a".repeat(300)];
const modes = ["octet", "octet", "OCTET", "netascii", "mail", "", "binary"];
const optionNames = ["blksize", "BLKSIZE", "timeout", "windowsize", "tsize", "multicast", ""];
const values = "0 1 4 7 8 64 255 512 1468 1469 65464 65535 65536 99999999999 -1 1e3 0x10".split(
  " ",
);

/** A datagram by grammar, then perhaps damaged. */
function makeDatagram(random: Random): Uint8Array {
  const bytes = encodePacket(makePacket(random));
  switch (random.below(6)) {
    case 0:
      return bytes.subarray(0, random.below(bytes.length + 1));
    case 1:
      for (let flips = 1 + random.below(4); flips > 0; flips--) {
        const at = random.below(bytes.length);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
      }
      return bytes;
    case 2:
      return Uint8Array.from({ length: random.below(64) }, () => random.below(256));
    default:
      return bytes;
  }
}

function makePacket(random: Random): TftpPacket {
  switch (random.below(8)) {
    case 0:
    case 1: {
      const count = random.below(6);
      const options = Array.from(
        { length: count },
        () => [pick(random, optionNames), pick(random, values)] as const,
      );
      const kind = random.below(8) === 0 ? "write" : "read";
      return { kind, name: pick(random, names), mode: pick(random, modes), options };
    }
    case 2:
      return { kind: "data", block: random.below(65536), bytes: new Uint8Array(random.below(32)) };
    case 3:
      return { kind: "error", code: random.below(10), message: pick(random, names) };
    case 4:
      return { kind: "option-ack", options: [[pick(random, optionNames), pick(random, values)]] };
    default:
      return { kind: "ack", block: random.below(random.below(4) === 0 ? 65536 : 40) };
  }
}

function pick<Value>(random: Random, list: readonly Value[]): Value {
  const value = list[random.below(list.length)];
  if (value === undefined) throw new RangeError("an empty list");
  return value;
}

function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function heapUsed(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}
