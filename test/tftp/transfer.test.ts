import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { decodePacket, type TftpOptions, type TftpRequest } from "../../server/tftp/codec.ts";
import {
  acknowledgedBytes,
  advance,
  planTransfer,
  type Step,
  startTransfer,
  type TransferEvent,
  toNetascii,
} from "../../server/tftp/transfer.ts";

const ethernet = 1500;
const request = (options: TftpOptions): TftpRequest => ({
  kind: "read",
  name: "f",
  mode: "octet",
  options,
});
const content = (size: number) => Uint8Array.from({ length: size }, (_, at) => (at * 7) & 0xff);
const plan = (size: number, options: TftpOptions = [], mtu = ethernet) =>
  planTransfer(request(options), content(size), mtu);
const ack = (block: number): TransferEvent => ({ kind: "ack", block });
const timeout: TransferEvent = { kind: "timeout" };

/** What a step sends, in short: `DATA 3`, `OACK`. */
const sends = (step: Step) =>
  step.send.map((bytes) => {
    const packet = decodePacket(bytes);
    return packet.kind === "data" ? `DATA ${packet.block}` : packet.kind;
  });

/** Runs events one after the other; the result is of the last. */
const play = (first: Step, events: readonly TransferEvent[]) =>
  events.reduce((step, event) => advance(step.transfer, event), first);

const negotiations: readonly (readonly [
  title: string,
  asked: TftpOptions,
  mtu: number,
  granted: TftpOptions,
])[] = [
  ["nothing is granted when nothing is asked", [], 1500, []],
  ["the least block", [["blksize", "8"]], 1500, [["blksize", "8"]]],
  ["a block too small is ignored", [["blksize", "7"]], 1500, []],
  ["a block beyond RFC 2348 is ignored", [["blksize", "65465"]], 1500, []],
  ["a block is cut to the MTU", [["blksize", "65464"]], 1500, [["blksize", "1468"]]],
  ["a jumbo frame carries more", [["blksize", "65464"]], 9000, [["blksize", "8968"]]],
  ["a block that is no number is ignored", [["blksize", "1e3"]], 1500, []],
  ["the size is told", [["tsize", "0"]], 1500, [["tsize", "1000"]]],
  ["a timeout is taken over", [["timeout", "3"]], 1500, [["timeout", "3"]]],
  ["a timeout of 0 is ignored", [["timeout", "0"]], 1500, []],
  ["a timeout of 256 is ignored", [["timeout", "256"]], 1500, []],
  ["a window as EDK2 asks it", [["windowsize", "4"]], 1500, [["windowsize", "4"]]],
  ["a window of 0 is ignored", [["windowsize", "0"]], 1500, []],
  ["a window is cut to 128 KiB", [["windowsize", "65535"]], 1500, [["windowsize", "256"]]],
  ["an unknown option is left out", [["multicast", ""]], 1500, []],
];
for (const [title, asked, mtu, granted] of negotiations) {
  test(`options: ${title}`, (t) => t.deepEqual(plan(1000, asked, mtu).granted, granted));
}

const sizes: readonly (readonly [size: number, blocks: number])[] = [
  [0, 1],
  [1, 1],
  [511, 1],
  [512, 2],
  [513, 2],
  [1023, 2],
  [1024, 3],
  [1025, 3],
];
for (const [size, blocks] of sizes) {
  test(`a file of ${size} octets is ${blocks} blocks of 512, the last one short`, (t) => {
    const { received, transfer } = fetchAll(startTransfer(plan(size)));
    t.is(received.length, blocks);
    t.true((received.at(-1)?.length ?? 512) < 512);
    t.deepEqual(Buffer.concat(received), Buffer.from(content(size)));
    t.is(transfer.outcome, "sent");
    t.is(acknowledgedBytes(transfer), size);
  });
}

/** A client without losses. */
function fetchAll(first: Step) {
  const received: Uint8Array[] = [];
  let step = first;
  while (step.transfer.phase !== "finished") {
    let last = 0;
    for (const bytes of step.send) {
      const packet = decodePacket(bytes);
      if (packet.kind !== "data") continue;
      received.push(packet.bytes);
      last = packet.block;
    }
    step = advance(step.transfer, ack(last));
  }
  return { received, transfer: step.transfer };
}

const withWindow: TftpOptions = [["windowsize", "4"]];
const steps: readonly (readonly [
  title: string,
  size: number,
  options: TftpOptions,
  events: readonly TransferEvent[],
  sent: readonly string[],
])[] = [
  ["without options DATA 1 is the answer", 2000, [], [], ["DATA 1"]],
  ["with options the OACK is the answer", 2000, [["tsize", "0"]], [], ["option-ack"]],
  ["ACK 0 starts the data", 2000, [["tsize", "0"]], [ack(0)], ["DATA 1"]],
  ["ACK 1 in place of ACK 0 is not taken", 2000, [["tsize", "0"]], [ack(1)], []],
  ["each ACK brings the next block", 2000, [], [ack(1), ack(2)], ["DATA 3"]],
  ["a repeated ACK brings nothing", 2000, [], [ack(1), ack(1)], []],
  ["an ACK from the past brings nothing", 2000, [], [ack(1), ack(2), ack(1)], []],
  ["an ACK from the future brings nothing", 2000, [], [ack(2)], []],
  ["a lost block is sent again by the timer", 2000, [], [ack(1), timeout], ["DATA 2"]],
  ["a lost OACK is sent again by the timer", 2000, [["tsize", "0"]], [timeout], ["option-ack"]],
  ["a late ACK after the timer still counts", 2000, [], [timeout, ack(1)], ["DATA 2"]],
  ["its double then brings nothing", 2000, [], [timeout, ack(1), ack(1)], []],
  [
    "a window is sent at once",
    5000,
    withWindow,
    [ack(0)],
    ["DATA 1", "DATA 2", "DATA 3", "DATA 4"],
  ],
  [
    "the next window follows its ACK",
    5000,
    withWindow,
    [ack(0), ack(4)],
    ["DATA 5", "DATA 6", "DATA 7", "DATA 8"],
  ],
  [
    "after a gap the window starts at the missing block",
    5000,
    withWindow,
    [ack(0), ack(2)],
    ["DATA 3", "DATA 4", "DATA 5", "DATA 6"],
  ],
  ["the last window is short", 5000, withWindow, [ack(0), ack(4), ack(8)], ["DATA 9", "DATA 10"]],
  [
    "the timer repeats the whole window",
    5000,
    withWindow,
    [ack(0), ack(4), ack(8), timeout],
    ["DATA 9", "DATA 10"],
  ],
  ["an abort ends it", 2000, [["tsize", "0"]], [{ kind: "error" }, ack(0), timeout], []],
];
for (const [title, size, options, events, sent] of steps) {
  test(title, (t) => t.deepEqual(sends(play(startTransfer(plan(size, options)), events)), sent));
}

test("a transfer nobody answers waits 1, 2, 4, 8, 8, 8 s and ends", (t) => {
  const waits: (number | undefined)[] = [];
  let step = startTransfer(plan(100));
  while (step.transfer.phase !== "finished") {
    waits.push(step.wait);
    step = advance(step.transfer, timeout);
  }
  t.deepEqual(waits, [1000, 2000, 4000, 8000, 8000, 8000]);
  t.is(step.transfer.outcome, "aborted");
  t.is(acknowledgedBytes(step.transfer), 0);
});

test("a timeout the client asked for does not grow", (t) => {
  const step = play(startTransfer(plan(100, [["timeout", "2"]])), [timeout, timeout]);
  t.is(Number(step.wait), 2000);
});

test("progress makes the waiting short again", (t) => {
  const step = play(startTransfer(plan(2000)), [timeout, timeout, ack(1)]);
  t.is(Number(step.wait), 1000);
});

test("the block number rolls over to 0 after 65535, also inside a window", (t) => {
  const size = 8 * 65540 + 3;
  const options: TftpOptions = [
    ["blksize", "8"],
    ["windowsize", "10"],
  ];
  const first = play(startTransfer(plan(size, options)), [ack(0)]);
  const { received, transfer } = fetchAll(first);
  t.is(received.length, 65541);
  t.is(Buffer.compare(Buffer.concat(received), content(size)), 0);
  t.is(acknowledgedBytes(transfer), size);
});

test("netascii: LF becomes CR LF, CR becomes CR NUL", (t) => {
  t.is(Buffer.from(toNetascii(Buffer.from("a\nb\rc"))).toString(), "a\r\nb\r\0c");
});

/** Whether the network carries the next datagram; then the transfer is as if it had waited. */
const fates = fc.array(fc.constantFrom("carried", "carried", "carried", "lost", "doubled"), {
  minLength: 200,
  maxLength: 200,
});
testProp(
  "over a network that loses and doubles, the client gets the very file",
  [fates, fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 1, max: 8 })],
  (t, network, size, windowBlocks) => {
    const options: TftpOptions = [
      ["blksize", "64"],
      ["windowsize", String(windowBlocks)],
    ];
    const client = lossyFetch(startTransfer(plan(size, options)), network, windowBlocks);
    if (client.complete) t.deepEqual(Buffer.concat(client.received), Buffer.from(content(size)));
    t.true(client.datagrams <= 5000);
    t.pass();
  },
);

/** A client as RFC 7440 has it: takes blocks in order, acknowledges at the window's end or at a gap. */
function lossyFetch(first: Step, network: readonly string[], windowBlocks: number) {
  const received: Uint8Array[] = [];
  let step = first;
  let complete = false;
  let datagrams = 0;
  let fate = 0;
  const acks: number[] = [];
  const carry = (): number => {
    const one = fate < network.length ? network[fate++] : "carried";
    return one === "lost" ? 0 : one === "doubled" ? 2 : 1;
  };
  const take = (bytes: Uint8Array) => {
    const packet = decodePacket(bytes);
    if (packet.kind === "option-ack") acks.push(0);
    if (packet.kind !== "data") return;
    if (packet.block === received.length + 1 && !complete) {
      received.push(packet.bytes);
      complete = packet.bytes.length < 64;
      if (complete || received.length % windowBlocks === 0) acks.push(received.length);
    } else acks.push(received.length);
  };
  while (step.transfer.phase !== "finished" && datagrams < 5000) {
    for (const bytes of step.send) {
      datagrams += 1;
      for (let copies = carry(); copies > 0; copies--) take(bytes);
    }
    const next = acks.shift();
    if (next === undefined) step = advance(step.transfer, timeout);
    else {
      const copies = carry();
      step = { transfer: step.transfer, send: [] };
      for (let copy = 0; copy < copies; copy++) {
        const after = advance(step.transfer, ack(next));
        step = { ...after, send: [...step.send, ...after.send] };
      }
    }
  }
  return { received, complete, datagrams };
}
