/** Processor: every thread of it hashes and calculates, and must come to the known result each time. */

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { AgentError } from "../errors.ts";
import type { TestTime } from "./burn-in.ts";
import { availableMiB } from "./test-memory.ts";

/** What a thread takes, with room: a node with 256 MiB has some 100 free. */
const threadMiB = 24;

/**
 * Runs in a worker, which has no bundle around it: plain JavaScript. One round is 2,000 times
 * sha-512 over its own result, and a sum of square roots whose last bit depends on every step.
 */
const work = `
const { createHash } = require("node:crypto");
const { parentPort, workerData } = require("node:worker_threads");
function round() {
  let digest = Buffer.from("marcoboot");
  for (let turn = 0; turn < 2000; turn++) digest = createHash("sha512").update(digest).digest();
  let sum = 0;
  for (let turn = 1; turn <= 200000; turn++) sum = Math.sqrt(sum * 1.0000001 + turn);
  return digest.toString("hex").slice(0, 32) + " " + sum;
}
const end = Date.now() + workerData.ms;
let rounds = 0;
let result;
do {
  result = round();
  rounds++;
} while (result === workerData.expected && Date.now() < end);
parentPort.postMessage({ rounds, result });
`;

/** What {@link work} comes to on every machine: sha-512 and IEEE 754 leave no choice. */
export const expected = "06ebf0e92f9fa1861920184bb4180577 447.71387380842356";

interface Outcome {
  readonly rounds: number;
  readonly result: string;
}

/** @throws AgentError with what a thread calculated instead */
export async function testProcessor({ until, pause }: TestTime, known = expected): Promise<string> {
  const ms = Math.max(1, until - performance.now());
  const affordable = Math.max(1, Math.floor(availableMiB() / threadMiB));
  const workers = Array.from({ length: Math.min(availableParallelism(), affordable) }, () => {
    const limits = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 4 };
    return new Worker(work, {
      eval: true,
      workerData: { ms, expected: known },
      resourceLimits: limits,
    });
  });
  try {
    let isOver = false;
    const all = Promise.all(workers.map(outcomeOf)).finally(() => {
      isOver = true;
    });
    const watching = watch(() => isOver, pause);
    const outcomes = await Promise.race([all, watching.then(() => all)]);
    const wrong = outcomes.find(({ result }) => result !== known);
    if (wrong) {
      throw new AgentError(
        `round ${wrong.rounds} of a thread came to ${wrong.result} instead of ${known}`,
      );
    }
    const rounds = outcomes.reduce((sum, one) => sum + one.rounds, 0);
    return `${workers.length} threads, ${rounds} rounds of sha-512 and square roots`;
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

/** Lets progress and a cancellation through while the workers are at it. */
async function watch(isOver: () => boolean, pause: TestTime["pause"]): Promise<void> {
  while (!isOver()) {
    await pause();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function outcomeOf(worker: Worker): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", (cause) => reject(new AgentError("a thread broke off", { cause })));
    worker.once("exit", (code) => reject(new AgentError(`a thread ended with ${code}`)));
  });
}
