import test from "ava";
import type { TftpOptions } from "../../server/tftp/codec.ts";
import { planTransfer } from "../../server/tftp/terms.ts";
import {
  acknowledgedBytes,
  advance,
  type Step,
  startTransfer,
  type TransferEvent,
} from "../../server/tftp/transfer.ts";

/** Events happen one a second, so that no timer rule depends on how many there were. */
type Told =
  | { readonly kind: "ack"; readonly block: number }
  | { readonly kind: "timeout" | "error" };
const plan = (size: number, options: TftpOptions = []) => planTransfer({ options }, size, 1500);
const start = (size: number, options: TftpOptions = []) => startTransfer(plan(size, options), 0);
const ack = (block: number): Told => ({ kind: "ack", block });
const timeout: Told = { kind: "timeout" };

/** What a step sends, in short: `DATA 3`, `OACK`. */
const sends = ({ send }: Step): readonly string[] => {
  if (send.kind === "nothing") return [];
  if (send.kind === "option-ack") return ["OACK"];
  return Array.from({ length: send.count }, (_, at) => `DATA ${send.first + at}`);
};

/** Runs events one after the other, `every` milliseconds apart; the result is of the last. */
const play = (first: Step, events: readonly Told[], every = 10) =>
  events.reduce(
    ({ step, at }, event) => ({
      step: advance(step.transfer, { ...event, at } as TransferEvent),
      at: at + every,
    }),
    { step: first, at: every },
  ).step;

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
  test(`a file of ${size} octets is ${blocks} blocks of 512`, (t) => {
    const acks = Array.from({ length: blocks }, (_, at) => ack(at + 1));
    const { transfer } = play(start(size), acks);
    t.is(transfer.sent, blocks);
    t.is(transfer.outcome, "sent");
    t.is(acknowledgedBytes(transfer), size);
  });
}

const withWindow: TftpOptions = [["windowsize", "4"]];
const steps: readonly (readonly [
  title: string,
  size: number,
  options: TftpOptions,
  events: readonly Told[],
  sent: readonly string[],
])[] = [
  ["without options DATA 1 is the answer", 2000, [], [], ["DATA 1"]],
  ["with options the OACK is the answer", 2000, [["tsize", "0"]], [], ["OACK"]],
  ["ACK 0 starts the data", 2000, [["tsize", "0"]], [ack(0)], ["DATA 1"]],
  ["ACK 1 in place of ACK 0 is not taken", 2000, [["tsize", "0"]], [ack(1)], []],
  ["each ACK brings the next block", 2000, [], [ack(1), ack(2)], ["DATA 3"]],
  ["a repeated ACK brings nothing", 2000, [], [ack(1), ack(1)], []],
  ["an ACK from the past brings nothing", 2000, [], [ack(1), ack(2), ack(1)], []],
  ["an ACK from the future brings nothing", 2000, [], [ack(2)], []],
  ["a lost block is sent again by the timer", 2000, [], [ack(1), timeout], ["DATA 2"]],
  ["a lost OACK is sent again by the timer", 2000, [["tsize", "0"]], [timeout], ["OACK"]],
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
  [
    "a repeated ACK makes a window leave again, for its first block may be lost",
    5000,
    withWindow,
    [ack(0), ack(4), ack(4)],
    ["DATA 5", "DATA 6", "DATA 7", "DATA 8"],
  ],
  ["but not a second time soon after", 5000, withWindow, [ack(0), ack(4), ack(4), ack(4)], []],
  ["nor does one in the last window of one block", 4500, withWindow, [ack(0), ack(4), ack(8), ack(8)], []], // biome-ignore format: a row
  ["an abort ends it", 2000, [["tsize", "0"]], [{ kind: "error" }, ack(0), timeout], []],
];
for (const [title, size, options, events, sent] of steps) {
  test(title, (t) => t.deepEqual(sends(play(start(size, options), events)), sent));
}

test("an ACK repeated by the network at once brings no window", (t) => {
  const first = play(start(5000, withWindow), [ack(0), ack(4)]);
  const { sentAt } = first.transfer;
  const step = advance(first.transfer, { kind: "ack", block: 4, at: sentAt + 1 });
  t.deepEqual(sends(step), []);
});

/** Times out whenever it may; the pauses, in milliseconds. */
function silence(first: Step, at: number): { waits: number[]; last: Step } {
  const waits: number[] = [];
  let last = first;
  for (let now = at; last.transfer.phase !== "finished"; ) {
    waits.push(last.wait ?? 0);
    now += last.wait ?? 0;
    last = advance(last.transfer, { kind: "timeout", at: now });
  }
  return { waits, last };
}

test("a client that never answers costs five datagrams: after 1, 2, 4, 8, 8 s it is given up", (t) => {
  for (const options of [[], [["tsize", "0"]]] as const) {
    const { waits, last } = silence(start(100_000, options), 0);
    t.deepEqual(waits, [1000, 2000, 4000, 8000, 8000]);
    t.is(last.transfer.outcome, "aborted");
    t.is(acknowledgedBytes(last.transfer), 0);
  }
});

test("a client that answered is asked again for 30 s, and left time to speak in between", (t) => {
  const { waits, last } = silence(play(start(100_000), [ack(1), ack(2)]), 20);
  t.deepEqual(waits.slice(0, 6), [250, 500, 1000, 2000, 4000, 8000]);
  const total = waits.reduce((sum, wait) => sum + wait, 0);
  t.true(total >= 30_000 && total < 40_000);
  t.is(acknowledgedBytes(last.transfer), 1024);
});

test("a timeout the client asked for is where the waiting begins", (t) => {
  const { waits } = silence(start(100, [["timeout", "2"]]), 0);
  t.deepEqual(waits, [2000, 4000, 8000, 8000, 8000]);
});

test("a client that asks again while the timer backs off is served, four times a second at most", (t) => {
  const waiting = play(start(2000), [ack(1), timeout, timeout]);
  const { sentAt } = waiting.transfer;
  const early = advance(waiting.transfer, { kind: "ack", block: 1, at: sentAt + 100 });
  t.deepEqual(sends(early), []);
  const asked = advance(waiting.transfer, { kind: "ack", block: 1, at: sentAt + 300 });
  t.deepEqual(sends(asked), ["DATA 2"]);
  const again = advance(asked.transfer, { kind: "ack", block: 1, at: sentAt + 301 });
  t.deepEqual(sends(again), []);
});

test("the timer follows the round trips", (t) => {
  const slow = play(start(100_000), [ack(1), ack(2), ack(3), ack(4)], 900);
  t.true((slow.wait ?? 0) > 900);
  const fast = play(start(100_000), [ack(1), ack(2), ack(3), ack(4)], 2);
  t.is(fast.wait, 250);
});

test("the answer to a block sent twice times nothing (Karn)", (t) => {
  const step = play(start(100_000), [timeout, ack(1)], 5000);
  t.is(step.transfer.roundTrip, 0);
  t.is(step.wait, 1000);
});

test("the block number rolls over to 0 after 65535, also inside a window", (t) => {
  const size = 8 * 65540 + 3;
  let step = play(start(size, [["blksize", "8"], ["windowsize", "10"]]), [ack(0)]); // biome-ignore format: as sent
  let blocks = 0;
  for (let at = 20; step.send.kind === "blocks"; at += 10) {
    blocks += step.send.count;
    const block = (step.send.first + step.send.count - 1) & 0xffff;
    step = advance(step.transfer, { kind: "ack", block, at });
  }
  t.is(blocks, 65_541);
  t.is(step.transfer.outcome, "sent");
  t.is(acknowledgedBytes(step.transfer), size);
});
