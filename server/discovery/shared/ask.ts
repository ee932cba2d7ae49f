/**
 * The asker's edge: sends one question on every link, again and again, and hands each answer to
 * the query. Every repetition is a datagram of its own on every link, with the same nonce.
 */

import { discoveryGroup, discoveryPort } from "#protocol/discovery.ts";
import { encodeMessage } from "./message.ts";
import type { Answerer, Query } from "./query.ts";
import {
  groupOn,
  isTooEarly,
  type Link,
  type OpenSocket,
  openSocket,
  type Socket,
} from "./sockets.ts";

export interface Asking {
  readonly query: Query;
  readonly links: readonly Link[];
  /** Mesh, as an IPv4 group. */
  readonly group?: string;
  readonly port?: number;
  /** An IPv4 address to ask by unicast as well, for where a switch eats multicast. */
  readonly alsoAsk?: string;
  /** Answerers are to spread their answers over the time there is. */
  readonly manyExpected?: boolean;
  /** Milliseconds to wait for answers after each time the question is sent; it ends with the last. */
  readonly pauses: Iterable<number>;
  readonly onAnswer?: (answerer: Answerer) => void;
  /** A link that cannot be used, in words. */
  readonly onTrouble?: (text: string) => void;
  readonly open?: OpenSocket;
}

/**
 * Resolves when as many have answered as were wanted, the last pause is over, or `signal` aborts.
 *
 * @throws the system's error when no link can be used at all
 */
export async function ask(asking: Asking, signal: AbortSignal): Promise<void> {
  const { query, links, alsoAsk, group = discoveryGroup, port = discoveryPort } = asking;
  const complete = new AbortController();
  const over = AbortSignal.any([signal, complete.signal]);
  const sockets = await openAll(asking);
  try {
    const intake = createIntake((bytes, from) => {
      if (over.aborted) return;
      const answerer = query.hear(bytes, from);
      if (answerer) asking.onAnswer?.(answerer);
      if (query.isComplete()) complete.abort();
    });
    for (const { socket } of sockets) {
      socket.onMessage((bytes, { address }) => intake.take(bytes, address));
    }
    for (const pause of asking.pauses) {
      if (over.aborted || links.length === 0) return;
      const within = asking.manyExpected ? { Within: Math.round(pause * shareToAnswer) } : {};
      const bytes = encodeMessage({ ...query.question, ...within });
      for (const { socket, link } of sockets) {
        socket.send(bytes, port, groupOn(link, group));
        if (alsoAsk !== undefined && link.family === 4) socket.send(bytes, port, alsoAsk);
      }
      await wait(pause, over);
    }
    intake.finish();
  } finally {
    await Promise.all(sockets.map(({ socket }) => socket.close()));
  }
}

/** The rest of a pause is for those that come late. */
const shareToAnswer = 0.6;

/** Some 7000 answers; a node with 256 MB must bear a flood of strangers. */
const maxWaitingOctets = 8 * 1024 * 1024;

/**
 * Answers are read at once and checked afterwards: a signature takes as long as ten datagrams, and
 * what the kernel cannot keep meanwhile is lost.
 */
function createIntake(check: (bytes: Uint8Array, from: string) => void) {
  const waiting: { readonly bytes: Uint8Array; readonly from: string }[] = [];
  let octets = 0;
  let isScheduled = false;
  const checkFirst = (count: number) => {
    for (const { bytes, from } of waiting.splice(0, count)) {
      octets -= bytes.length;
      check(bytes, from);
    }
  };
  const checkSome = () => {
    isScheduled = false;
    checkFirst(16);
    schedule();
  };
  const schedule = () => {
    if (isScheduled || waiting.length === 0) return;
    isScheduled = true;
    setImmediate(checkSome);
  };
  return {
    take(bytes: Uint8Array, from: string) {
      if (octets + bytes.length > maxWaitingOctets) return;
      octets += bytes.length;
      waiting.push({ bytes, from });
      schedule();
    },
    /** What was heard in time is checked, however long it takes. */
    finish() {
      checkFirst(waiting.length);
    },
  };
}

/** So many questions in so much time. */
export function pausesOf(timeoutMs: number, retries: number): readonly number[] {
  return Array.from({ length: retries + 1 }, () => timeoutMs / (retries + 1));
}

async function openAll({
  links,
  open = openSocket,
  onTrouble,
}: Asking): Promise<readonly { readonly socket: Socket; readonly link: Link }[]> {
  const sockets = [];
  let trouble: unknown;
  for (const link of links) {
    try {
      sockets.push({ link, socket: await open(link, { port: 0 }) });
    } catch (error) {
      trouble = error;
      if (isTooEarly(link, error)) continue; // the other family asks
      onTrouble?.(`cannot ask on ${link.interface} from ${link.address}: ${String(error)}`);
    }
  }
  if (sockets.length === 0 && trouble !== undefined) throw trouble;
  return sockets;
}

function wait(durationMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, durationMs);
    signal.addEventListener("abort", done, { once: true });
  });
}
