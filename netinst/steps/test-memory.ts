/** Memory: patterns written to all that is free, then read back, again and again. */

import { AgentError } from "../errors.ts";
import { readText } from "../settings.ts";
import type { TestTime } from "./burn-in.ts";

const blockOctets = 8 << 20;
/** Left for the kernel, the agent and the file system in RAM that netinst lives in. */
const keptMiB = 48;

/** The bits of each octet in turn, and every address as its own content. */
const patterns = [0x00, 0xff, 0x55, 0xaa, "address"] as const;
type Pattern = (typeof patterns)[number];

/**
 * As much as one pass over it has time for.
 *
 * @param mostMiB - however much is free
 * @throws AgentError naming the first octet that came back different
 */
export async function testMemory(
  { until, pause }: TestTime,
  mostMiB: number,
  available = availableMiB(),
): Promise<string> {
  const usable = Math.min(mostMiB, Math.floor(Math.max(0, available - keptMiB) * 0.75));
  const count = Math.max(1, Math.floor((usable << 20) / blockOctets));
  const begun = performance.now();
  // to fill a block costs what writing a pattern costs: a pass writes and reads each of them
  const fillUntil = begun + (until - begun) / (2 * patterns.length + 1);
  const memory: ArrayBuffer[] = [];
  try {
    while (memory.length < count && (memory.length === 0 || performance.now() < fillUntil)) {
      const block = new ArrayBuffer(blockOctets);
      Buffer.from(block).fill(0xff); // the kernel gives a page when it is written
      memory.push(block);
      await pause();
    }
    const blocks = memory.map((block) => Buffer.from(block));
    let passes = 0;
    do {
      for (const pattern of patterns) await pass(blocks, pattern, pause);
      passes += 1;
    } while (performance.now() < until);
    const mebibytes = (blocks.length * blockOctets) >> 20;
    return `${mebibytes} MiB of ${available} free ones, ${passes} passes of ${patterns.length} patterns`;
  } finally {
    // Given back at once: the parts that follow need it, and the garbage collector may be late.
    for (const block of memory) block.transfer(0);
  }
}

/** All of it is written before any of it is read: no cache holds it that long. */
async function pass(
  blocks: readonly Buffer[],
  pattern: Pattern,
  pause: TestTime["pause"],
): Promise<void> {
  for (const [index, block] of blocks.entries()) {
    write(block, pattern, index);
    await pause();
  }
  for (const [index, block] of blocks.entries()) {
    check(block, pattern, index);
    await pause();
  }
}

/** The number of a word among all words of the test, so that two addresses that are one are seen. */
function wordAt(index: number, word: number): number {
  return (index * (blockOctets / 4) + word) >>> 0;
}

function wordsOf(block: Buffer): Uint32Array {
  return new Uint32Array(block.buffer, block.byteOffset, block.length / 4);
}

function write(block: Buffer, pattern: Pattern, index: number): void {
  if (pattern !== "address") return void block.fill(pattern);
  const words = wordsOf(block);
  for (let word = 0; word < words.length; word++) words[word] = wordAt(index, word);
}

const expected = Buffer.allocUnsafeSlow(1 << 20);

/** @throws AgentError */
export function check(block: Buffer, pattern: Pattern, index: number): void {
  if (pattern === "address") {
    const words = wordsOf(block);
    for (let word = 0; word < words.length; word++) {
      if (words[word] === wordAt(index, word)) continue;
      throw fault(index, word * 4, wordAt(index, word), words[word]);
    }
    return;
  }
  expected.fill(pattern);
  for (let at = 0; at < block.length; at += expected.length) {
    const part = block.subarray(at, at + expected.length);
    if (part.equals(expected)) continue;
    const wrong = part.findIndex((octet) => octet !== pattern);
    throw fault(index, at + wrong, pattern, part[wrong]);
  }
}

function fault(index: number, at: number, wrote: number, read: number | undefined): AgentError {
  const hex = (value: number | undefined) => (value ?? 0).toString(16).padStart(2, "0");
  return new AgentError(
    `octet ${index * blockOctets + at} of the tested memory: ${hex(wrote)} was written, ${hex(read)} came back`,
  );
}

/** What the kernel could give without swapping. */
export function availableMiB(): number {
  const meminfo = readText("/proc/meminfo") ?? "";
  return Math.floor(Number(/^MemAvailable:\s+(\d+)/m.exec(meminfo)?.[1] ?? 0) / 1024);
}
