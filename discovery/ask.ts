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
    for (const { socket } of sockets) {
      socket.onMessage((bytes, from) => {
        if (over.aborted) return;
        const answerer = query.hear(bytes, from.address);
        if (answerer) asking.onAnswer?.(answerer);
        if (query.isComplete()) complete.abort();
      });
    }
    const bytes = encodeMessage(query.question);
    for (const pause of asking.pauses) {
      if (over.aborted || links.length === 0) return;
      for (const { socket, link } of sockets) {
        socket.send(bytes, port, groupOn(link, group));
        if (alsoAsk !== undefined && link.family === 4) socket.send(bytes, port, alsoAsk);
      }
      await wait(pause, over);
    }
  } finally {
    await Promise.all(sockets.map(({ socket }) => socket.close()));
  }
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
