/** All transfers of one interface over a network that exists only here: its faults follow a seed, its time is ours. */

import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import {
  decodePacket,
  encodeData,
  encodePacket,
  errorCode,
  type TftpOptions,
  type TftpPacket,
} from "../../server/tftp/codec.ts";
import { type Ended, type Question, Transfers } from "../../server/tftp/transfers.ts";
import type { Blocks, Channel, Via } from "../../server/tftp/wire.ts";
import { createRandom } from "../support/random.ts";
import { createReader } from "./reader.ts";

const address = 0x0a4d0002; // 10.77.0.2
const content = (size: number) => Uint8Array.from({ length: size }, (_, at) => (at * 7 + (at >> 9)) & 0xff); // biome-ignore format: one line

interface Sent {
  readonly to: Channel;
  readonly bytes: Uint8Array;
}

interface World {
  readonly transfers: Transfers;
  readonly sent: Sent[];
  readonly ended: Ended[];
  readonly questions: Question[];
  now: number;
  /** Everything that has left since the last call. */
  take(): readonly TftpPacket[];
  hear(packet: TftpPacket | Uint8Array, from?: Partial<Channel>): void;
  /** Lets the timers run up to a time. */
  until(at: number): void;
}

interface WorldOptions {
  readonly file?: Uint8Array;
  readonly known?: (address: number) => boolean;
  readonly transfers?: number;
  readonly transfersPerPeer?: number;
}

function world(options: WorldOptions = {}): World {
  const { file = content(2000), known = () => true } = options;
  const sent: Sent[] = [];
  const ended: Ended[] = [];
  const questions: Question[] = [];
  const transfers: Transfers = new Transfers({
    limits: {
      transfers: options.transfers ?? 512,
      transfersPerPeer: options.transfersPerPeer ?? 4,
    },
    wire: {
      blocks(to, { content: { bytes }, blockBytes, first, count }: Blocks) {
        for (let block = first; block < first + count; block++) {
          const piece = bytes.subarray((block - 1) * blockBytes, block * blockBytes);
          sent.push({ to, bytes: encodeData(block & 0xffff, piece) });
        }
      },
      packet: (to, bytes) => void sent.push({ to, bytes }),
    },
    ask(question) {
      questions.push(question);
      const { id } = question;
      if (!known(question.address)) return transfers.answer({ kind: "silence", id }, self.now);
      if (question.request.name !== "f") {
        const code = errorCode.fileNotFound;
        return transfers.answer({ kind: "refused", id, code, message: "no" }, self.now);
      }
      const mtu = 65535;
      const answer = { kind: "content", id, content: { bytes: file }, mtu } as const;
      transfers.answer({ ...answer, largestDatagram: mtu }, self.now);
    },
    ended: (report) => void ended.push(report),
  });
  const self: World = {
    transfers,
    sent,
    ended,
    questions,
    now: 0,
    take: () => sent.splice(0).map(({ bytes }) => decodePacket(bytes)),
    hear(packet, from) {
      const bytes = packet instanceof Uint8Array ? packet : encodePacket(packet);
      const channel: Channel = { address, port: 2000, via: "transfers", ...from };
      transfers.receive(bytes, 0, bytes.length, channel, self.now);
    },
    until(at) {
      while (transfers.nextDue <= at) {
        self.now = Math.max(self.now, transfers.nextDue);
        transfers.expire(self.now);
      }
      self.now = at;
    },
  };
  return self;
}

const read = (name = "f", options: TftpOptions = []) =>
  ({ kind: "read", name, mode: "octet", options }) as const;
const requests = { via: "requests" } as const;

interface Faults {
  /** Of 1000 datagrams. */
  readonly lost: number;
  readonly doubled: number;
  readonly late: number;
  readonly seed: number;
  /** The client's timer starts anew with every datagram, as atftp's; otherwise with those that bring something. */
  readonly restless?: boolean;
}

interface Flight {
  readonly at: number;
  readonly deliver: () => void;
}

/** Fetches one file through the faults; undefined when the transfer was given up on the way. */
function fetch(file: Uint8Array, options: TftpOptions, faults: Faults) {
  const server = world({ file });
  const reader = createReader("f", options);
  const generator = createRandom(faults.seed);
  const random = () => generator.below(1000);
  const flights: Flight[] = [];
  const carry = (deliver: () => void) => {
    if (random() < faults.lost) return;
    for (let copies = random() < faults.doubled ? 2 : 1; copies > 0; copies--) {
      const delay = random() < faults.late ? 2 + (random() % 8) : 1;
      flights.push({ at: server.now + delay, deliver });
    }
  };
  let via: Via = "requests";
  let heardAt = 0;
  let repeated = 0;
  let begun = false;
  const say = (packet: TftpPacket) => {
    const to = packet.kind === "read" ? "requests" : via;
    carry(() => server.hear(packet, { via: to }));
  };
  const toClient = () => {
    for (const { bytes, to } of server.sent.splice(0)) {
      carry(() => {
        via = to.via;
        begun = true;
        const before = reader.progress;
        for (const answer of reader.receive(decodePacket(bytes))) say(answer);
        if (faults.restless || reader.progress > before) heardAt = server.now;
      });
    }
  };
  say(reader.remind());
  while (!reader.file && server.now < 3_600_000) {
    const at = Math.min(server.transfers.nextDue, heardAt + 1500, ...flights.map((one) => one.at));
    server.until(at);
    if (at >= heardAt + 1500) {
      heardAt = at;
      repeated += 1;
      if (begun && server.transfers.size === 0) return { file: undefined, server, repeated };
      say(reader.remind());
    }
    const due = flights.filter((one) => one.at <= at);
    for (const one of due) flights.splice(flights.indexOf(one), 1);
    for (const one of due) {
      one.deliver();
      toClient();
    }
    toClient();
  }
  return { file: reader.file, server, repeated };
}

for (const lost of [0, 10, 50, 200, 400]) {
  for (const blksize of [8, 512, 1428, 1468, 65464]) {
    for (const windowsize of [1, 4, 64]) {
      const file = content(blksize === 8 ? 1500 : Math.min(blksize * 90 + 17, 400_000));
      const seed = lost + blksize + windowsize;
      const faults: Faults = { lost, doubled: 100, late: 100, seed };
      const asked: TftpOptions = [
        ["blksize", String(blksize)],
        ["windowsize", String(windowsize)],
      ];
      test(`blocks of ${blksize}, window ${windowsize}, ${lost / 10} % lost, 10 % doubled, 10 % late: the file arrives`, (t) => {
        const plain = fetch(file, asked, faults).file;
        t.is(Buffer.compare(plain ?? Buffer.alloc(0), file), 0);
        const timeout: TftpOptions = [...asked, ["timeout", "1"]];
        const restless = fetch(file, timeout, { ...faults, restless: true }).file;
        t.is(Buffer.compare(restless ?? Buffer.alloc(0), file), 0);
      });
    }
  }
}

testProp(
  "whatever the network does, what arrives is the very file",
  [
    fc.record({
      lost: fc.integer({ min: 0, max: 400 }),
      doubled: fc.integer({ min: 0, max: 300 }),
      late: fc.integer({ min: 0, max: 500 }),
      seed: fc.integer(),
    }),
    fc.integer({ min: 0, max: 3000 }),
    fc.integer({ min: 1, max: 20 }),
  ],
  (t, faults, size, windowsize) => {
    const file = content(size);
    const options: TftpOptions = [
      ["blksize", "64"],
      ["windowsize", String(windowsize)],
    ];
    const { file: arrived } = fetch(file, options, faults);
    t.true(arrived === undefined || Buffer.compare(arrived, file) === 0);
  },
);

test("doubled ACKs do not make a transfer carry everything twice", (t) => {
  const file = content(512 * 400);
  for (const windowsize of ["1", "8"]) {
    const options: TftpOptions = [["windowsize", windowsize]];
    const { server } = fetch(file, options, { lost: 0, doubled: 1000, late: 0, seed: 1 });
    t.is(server.transfers.counts.repeated, 0, `windowsize ${windowsize}`);
  }
});

test("a peer that is not known gets nothing, and costs one question", (t) => {
  const server = world({ known: () => false });
  server.hear(read(), requests);
  server.hear({ kind: "ack", block: 1 });
  server.hear({ kind: "ack", block: 1 }, requests);
  server.hear({ kind: "data", block: 1, bytes: new Uint8Array(4) });
  server.hear({ kind: "write", name: "f", mode: "octet", options: [] }, requests);
  server.until(60_000);
  t.deepEqual(server.sent, []);
  t.is(server.transfers.counts.unknown, 2);
});

test("a source port below 1024 gets nothing", (t) => {
  const server = world();
  server.hear(read(), { ...requests, port: 1023 });
  server.hear(read("none"), { ...requests, port: 53 });
  server.until(10_000);
  t.deepEqual(server.sent, []);
  t.is(server.transfers.counts.lowPort, 2);
});

test("a client that boots and never answers gets five datagrams of one block", (t) => {
  const server = world();
  server.hear(read(), requests);
  server.until(120_000);
  const sent = server.take();
  t.is(sent.length, 5);
  t.true(sent.every((packet) => packet.kind === "data" && packet.block === 1));
  t.is(server.ended[0]?.outcome, "aborted");
});

test("an OACK is repeated by the timer only, not by a repeated request", (t) => {
  const server = world();
  const asked = read("f", [["tsize", "0"]]);
  server.hear(asked, requests);
  server.until(500);
  server.hear(asked, requests);
  t.is(server.take().length, 1);
  server.until(1100);
  t.is(server.take().length, 1);
});

test("a request the network repeats late does not disturb its transfer", (t) => {
  const server = world();
  server.hear(read(), requests);
  server.hear({ kind: "ack", block: 1 });
  server.take();
  server.until(5);
  server.hear(read(), requests);
  t.deepEqual(server.take(), []);
  server.hear({ kind: "ack", block: 2 });
  t.is(server.take().length, 1);
});

test("a client that begins anew from the same port after a pause is served anew", (t) => {
  const server = world();
  server.hear(read(), requests);
  server.hear({ kind: "ack", block: 1 });
  server.until(5000);
  server.take();
  server.hear(read(), requests);
  const [packet] = server.take();
  t.is(packet?.kind === "data" && packet.block, 1);
});

test("a request for another file from the same port ends the transfer before", (t) => {
  const server = world();
  server.hear(read("f"), requests);
  server.hear({ kind: "ack", block: 1 });
  server.take();
  server.hear(read("none"), requests);
  t.deepEqual(server.take(), [{ kind: "error", code: 1, message: "no" }]);
});

test("ERRORs to one address run dry", (t) => {
  const server = world();
  for (let count = 0; count < 1000; count++) {
    server.hear(read(`none${count}`), { ...requests, port: 2000 + count });
  }
  const errors = server.take().length;
  t.true(errors > 30 && errors <= 101, `${errors} errors`); // thirty names in a row are a Raspberry Pi
});

test("a late ACK of a transfer that is over is no stranger's", (t) => {
  const server = world({ file: content(10) });
  server.hear(read(), requests);
  server.hear({ kind: "ack", block: 1 });
  t.is(server.ended[0]?.outcome, "sent");
  server.take();
  server.hear({ kind: "ack", block: 1 });
  t.deepEqual(server.take(), []);
});

test("a client that was given up and comes back is told so", (t) => {
  const server = world();
  server.hear(read(), requests);
  server.hear({ kind: "ack", block: 1 });
  server.until(50_000);
  t.is(server.ended[0]?.outcome, "aborted");
  server.take();
  server.hear({ kind: "ack", block: 1 });
  const [packet] = server.take();
  t.is(packet?.kind === "error" && packet.code, 5);
});

test("when all places are taken, one that never answered gives way, one that did stays", (t) => {
  const server = world({ transfers: 2 });
  const from = (host: number) => ({ address: address + host });
  for (const host of [1, 2]) server.hear(read(), { ...requests, ...from(host) });
  server.hear({ kind: "ack", block: 1 }, from(1));
  server.take();
  server.hear(read(), { ...requests, ...from(3) });
  t.is(server.take().length, 1);
  t.is(server.ended[0]?.address, address + 2);
  server.hear({ kind: "ack", block: 1 }, from(3));
  server.take();
  server.hear(read(), { ...requests, ...from(4) });
  t.deepEqual(server.take(), []);
  t.is(server.transfers.size, 2);
});

test("a client that opens file after file without a last ACK is not kept waiting", (t) => {
  const server = world({ file: content(10) });
  for (let port = 2000; port < 2020; port++) {
    server.hear(read(), { ...requests, port });
    t.is(server.take().length, 1);
  }
  t.is(server.transfers.size, 4);
});

test("closing ends who never answered and waits for who reads on", (t) => {
  const server = world();
  server.hear(read(), { ...requests, port: 3001 });
  server.hear(read(), { ...requests, port: 3002 });
  server.hear({ kind: "ack", block: 1 }, { port: 3002 });
  server.transfers.beginClosing(server.now);
  t.is(server.transfers.size, 1);
  server.take();
  server.hear(read(), { ...requests, port: 3003 });
  t.deepEqual(server.take(), []);
  server.until(3000);
  server.transfers.endSilent(server.now);
  t.is(server.transfers.size, 0);
});
