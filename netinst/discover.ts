/**
 * Finds the install server by multicast, and believes only the pinned key.
 *
 * The question leaves through the one interface that is named (no default route is needed) and is
 * sent again with growing delay. Where a switch eats multicast, the host of `marcoboot.url` is
 * asked by unicast as well: the answer must carry the same signature.
 */

import { randomBytes } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import {
  type DiscoveryAnswer,
  type DiscoveryQuestion,
  installService,
  maxDiscoveryOctets,
  type ServerParams,
} from "#protocol/discovery.ts";
import type { Console } from "./console.ts";
import { NetworkError, reasonOf } from "./errors.ts";
import { type PinnedKey, whyRefused } from "./trust.ts";
import { sleep } from "./wait.ts";

export interface DiscoverContext {
  readonly key: PinnedKey;
  readonly group: string;
  readonly port: number;
  /** Own IPv4 address on the interface to ask through. */
  readonly address: string;
  /** Host also asked by unicast. */
  readonly alsoAsk?: string;
  readonly console: Console;
  /** Delay before the question is sent again, doubled each time up to 8 times this. Default 1000. */
  readonly firstDelayMs?: number;
}

/** Resolves with the first answer that the pinned key signed. @throws NetworkError when `signal` aborts. */
export async function discover(
  context: DiscoverContext,
  signal: AbortSignal,
): Promise<ServerParams> {
  const nonce = randomBytes(16).toString("hex");
  const socket = createSocket({ type: "udp4" });
  const found = Promise.withResolvers<ServerParams>();
  const over = new AbortController();
  const refused = new Set<string>();
  socket.on("error", (error) => context.console.warn(`discovery: ${reasonOf(error)}`));
  socket.on("message", (bytes, from) => {
    const answer = parseAnswer(bytes);
    if (answer === undefined) return;
    const reason = whyRefused(context.key, answer, nonce);
    if (reason === undefined) return found.resolve(answer.Params);
    const line = `server at ${from.address} refused: ${reason}`;
    if (refused.has(line)) return; // it answers every question: say it once
    refused.add(line);
    context.console.warn(line);
  });
  try {
    await bind(socket, context.address);
    const asking = ask(socket, context, nonce, AbortSignal.any([signal, over.signal]));
    return await Promise.race([
      found.promise,
      asking.then(() => {
        throw new NetworkError("discovery was stopped before a server answered");
      }),
    ]);
  } finally {
    over.abort();
    socket.close();
  }
}

async function bind(socket: Socket, address: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.bind({ address, port: 0 }, () => {
      socket.off("error", reject);
      resolve();
    });
  });
  socket.setMulticastInterface(address);
  socket.setMulticastTTL(1);
  socket.setMulticastLoopback(true); // server and agent may share a machine in a laboratory
}

async function ask(
  socket: Socket,
  context: DiscoverContext,
  nonce: string,
  signal: AbortSignal,
): Promise<void> {
  const question: DiscoveryQuestion = {
    Command: "Request-For",
    Params: installService,
    Nonce: nonce,
  };
  const bytes = Buffer.from(JSON.stringify(question));
  const first = context.firstDelayMs ?? 1000;
  const targets = [context.group, ...(context.alsoAsk === undefined ? [] : [context.alsoAsk])];
  for (let attempt = 0; !signal.aborted; attempt++) {
    for (const target of targets) {
      socket.send(bytes, context.port, target, (error) => {
        if (error && !signal.aborted && attempt % 8 === 0) {
          context.console.info(`discovery: cannot ask ${target}: ${error.message}`);
        }
      });
    }
    if (attempt === 3) {
      context.console.info(`no server has answered yet on ${context.address}; asking on`);
    }
    await sleep(Math.min(first * 2 ** attempt, first * 8), signal);
  }
}

/** Undefined for anything that is not an answer: other programs share the group. */
export function parseAnswer(bytes: Uint8Array): DiscoveryAnswer | undefined {
  if (bytes.length > maxDiscoveryOctets) return undefined;
  try {
    const value = JSON.parse(Buffer.from(bytes).toString("utf8")) as Partial<DiscoveryAnswer>;
    const whole =
      (value.Command === "OK" || value.Command === "Polo") &&
      typeof value.Nonce === "string" &&
      typeof value.Signature === "string" &&
      typeof value.Params?.url === "string" &&
      typeof value.Params.bootUrl === "string" &&
      typeof value.Params.authority === "string";
    return whole ? (value as DiscoveryAnswer) : undefined;
  } catch {
    return undefined;
  }
}
