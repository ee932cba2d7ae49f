/**
 * The engine that moves datagrams in a thread of its own (thread.ts). Here is the
 * server's side of it: the sockets, the answers, and a new thread should one die.
 */

import { writeSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { type Ipv4Address, type Milliseconds, milliseconds } from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import { closeDeviceSocket, enlargeBuffers, openDeviceSocket } from "../net/device-socket.ts";
import type { Engine, EngineContext, EngineCounts } from "./engine.ts";
import {
  countNames,
  type FromThread,
  type ThreadAnswer,
  type ThreadData,
  type ToThread,
} from "./thread-messages.ts";
import type { Answer } from "./transfers.ts";

export interface BatchedContext extends EngineContext {
  /** Descriptor bound to the well-known port; the engine closes it, also when it cannot start. */
  readonly requests: number;
  readonly interfaceName: string;
  readonly address: Ipv4Address;
  /** False: never use UDP_SEGMENT. */
  readonly segmentation: boolean;
  readonly clock: Clock;
  readonly log: Log;
  /** The thread's program, in place of thread.ts: for tests of its death. */
  readonly program?: URL;
}

/** A thread that dies is replaced, but not in a tight circle. */
const pauseBeforeNew = milliseconds(1000);

/** @throws whatever the sockets or the first thread say */
export async function startBatchedEngine(context: BatchedContext): Promise<Engine> {
  const { interfaceName, address, requests } = context;
  const opened = [requests];
  const open = async () => {
    const fd = await openDeviceSocket({ interface: interfaceName, address, port: 0, reuse: false });
    opened.push(fd);
    return fd;
  };
  const closeSockets = async () => {
    for (const fd of opened.splice(0)) await closeDeviceSocket(fd);
  };
  try {
    const data: ThreadData = {
      requests,
      transfers: await open(),
      spare: await open(),
      limits: context.limits,
      segmentation: context.segmentation,
      counts: new SharedArrayBuffer(countNames.length * 8),
    };
    for (const fd of opened) await enlargeBuffers(fd);
    const threads = new Threads(context, data);
    await threads.start();
    return {
      kind: "batched",
      counts: () => readCounts(data.counts),
      async close(limit) {
        await threads.close(limit);
        await closeSockets();
      },
    };
  } catch (error) {
    await closeSockets();
    throw error;
  }
}

/** The thread that runs, and the one after it. */
class Threads {
  readonly #context: BatchedContext;
  readonly #data: ThreadData;
  #worker: Worker | undefined;
  /** Undefined until the thread is ready. */
  #wake: number | undefined;
  #over: Promise<void> = Promise.resolve();
  readonly #closing = new AbortController();

  constructor(context: BatchedContext, data: ThreadData) {
    this.#context = context;
    this.#data = data;
  }

  /**
   * Resolves when the first thread listens; from then on one that dies is replaced.
   *
   * @throws why it never listened; then there is no other
   */
  start(): Promise<void> {
    const first = Promise.withResolvers<void>();
    this.#over = this.#keepOne(first);
    return first.promise;
  }

  async #keepOne(first: PromiseWithResolvers<void>): Promise<void> {
    const { clock, log, interfaceName } = this.#context;
    const { signal } = this.#closing;
    let hasListened = false;
    const listening = () => {
      hasListened = true;
      first.resolve();
    };
    for (;;) {
      const reason = await this.#live(listening).catch((error: unknown) => error);
      if (!hasListened) return first.reject(reason);
      if (signal.aborted) return;
      await clock.sleep(pauseBeforeNew, signal);
      if (signal.aborted) return;
      log.warn({ interface: interfaceName }, "tftp thread starts again");
    }
  }

  /**
   * One thread, from its start to its end.
   *
   * @returns why it died
   */
  async #live(listening: () => void): Promise<unknown> {
    const worker = new Worker(this.#context.program ?? new URL("./thread.ts", import.meta.url), {
      workerData: this.#data,
      name: "tftp",
    });
    this.#worker = worker;
    let reason: unknown = new Error("the tftp thread ended");
    worker.on("message", (message: FromThread) => {
      if (message.kind === "ready") {
        this.#wake = message.wake;
        listening();
      } else this.#hear(message);
    });
    worker.on("error", (error) => {
      this.#context.log.error({ err: error }, "tftp thread failed");
      reason = error; // it can overtake what the thread said before: what follows is for `exit`
    });
    await new Promise((over) => worker.on("exit", over));
    const wake = this.#wake;
    this.#worker = undefined;
    this.#wake = undefined;
    if (wake !== undefined) await closeDeviceSocket(wake);
    return reason;
  }

  #hear(message: Exclude<FromThread, { readonly kind: "ready" }>): void {
    const { log, interfaceName } = this.#context;
    switch (message.kind) {
      case "question":
        this.#tell({
          kind: "answer",
          answer: share(this.#context.answer(message.question)),
        });
        return;
      case "ended":
        this.#context.ended(message.report);
        return;
      case "no-segmentation":
        log.info({ interface: interfaceName }, "interface does not cut datagrams: each goes alone");
    }
  }

  #tell(message: ToThread): void {
    if (this.#wake === undefined) return;
    this.#worker?.postMessage(message);
    writeSync(this.#wake, one);
  }

  async close(limit: Milliseconds): Promise<void> {
    this.#closing.abort();
    // One that is not ready yet has begun nothing.
    if (this.#wake === undefined) await this.#worker?.terminate();
    else this.#tell({ kind: "close", limitMs: limit });
    await this.#over;
  }
}

const one = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);

function share(answer: Answer): ThreadAnswer {
  if (answer.kind !== "content") return answer;
  const { content, ...rest } = answer;
  return { ...rest, shared: sharedCopy(content.bytes) };
}

/** By the bytes they were copied from: a file that changed has new bytes. */
const copies = new WeakMap<Uint8Array, SharedArrayBuffer>();

/** The same memory for every transfer of a file; copied at the first. */
function sharedCopy(bytes: Uint8Array): SharedArrayBuffer {
  const { buffer } = bytes;
  if (buffer instanceof SharedArrayBuffer && buffer.byteLength === bytes.length) return buffer;
  const known = copies.get(bytes);
  if (known) return known;
  const shared = new SharedArrayBuffer(bytes.length);
  new Uint8Array(shared).set(bytes);
  copies.set(bytes, shared);
  return shared;
}

function readCounts(shared: SharedArrayBuffer): EngineCounts {
  const numbers = new Float64Array(shared);
  const of = (name: (typeof countNames)[number]) => numbers[countNames.indexOf(name)] ?? 0;
  return {
    received: of("received"),
    repeated: of("repeated"),
    malformed: of("malformed"),
    lowPort: of("lowPort"),
    unknown: of("unknown"),
    tooMany: of("tooMany"),
    calls: of("calls"),
    datagrams: of("datagrams"),
    refused: of("refused"),
    transfers: of("transfers"),
  };
}
