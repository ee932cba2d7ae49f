/** Asks a node's network services whether they are there: TCP connections and HTTP answers. */

import { get } from "node:http";
import { createConnection } from "node:net";
import { type Ipv4Address, milliseconds } from "#protocol/brand.ts";
import type { Node } from "#protocol/node.ts";
import type { Clock } from "../clock.ts";

export type NetworkCheck =
  | { readonly check: "port"; readonly port: number }
  | { readonly check: "http"; readonly port: number; readonly path: string };

/** @returns why the node did not answer as it should; undefined when it did. Never rejects. */
export type Probe = (
  node: Node,
  check: NetworkCheck,
  signal: AbortSignal,
) => Promise<string | undefined>;

/** For one answer. */
const answerPatience = milliseconds(5000);
/** A service that does not answer yet is asked this often, */
const tries = 3;
/** after this long. */
const between = milliseconds(2000);

/** @param ownAddress - of the server, on the network of a node */
export function createProbe(
  clock: Pick<Clock, "sleep">,
  ownAddress: (node: Ipv4Address) => Ipv4Address,
): Probe {
  const once = async (address: Ipv4Address, check: NetworkCheck, signal: AbortSignal) => {
    const answered = new AbortController();
    const late = new AbortController();
    const patience = clock.sleep(answerPatience, answered.signal).then(() => late.abort());
    const target = { host: address, port: check.port, localAddress: ownAddress(address) };
    try {
      const over = AbortSignal.any([signal, late.signal]);
      return await (check.check === "port"
        ? connect(target, over)
        : fetchStatus({ ...target, path: check.path }, over));
    } catch (error) {
      return late.signal.aborted ? `no answer within ${answerPatience / 1000} s` : wordsOf(error);
    } finally {
      answered.abort();
      await patience;
    }
  };
  return async ({ address }, check, signal) => {
    const name = check.check === "port" ? `port:${check.port}` : `http:${check.port}${check.path}`;
    if (address === undefined) return `${name}: it has no address`;
    let reason: string | undefined;
    for (let attempt = 1; attempt <= tries && !signal.aborted; attempt++) {
      if (attempt > 1) await clock.sleep(between, signal);
      reason = await once(address, check, signal);
      if (reason === undefined) return undefined;
    }
    return `${name} of ${address}: ${reason ?? "it was not asked"}`;
  };
}

interface Target {
  readonly host: string;
  readonly port: number;
  readonly localAddress: string;
}

function connect(target: Target, signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ ...target, signal });
    socket.once("error", reject);
    socket.once("connect", () => {
      resolve(undefined);
      socket.destroy();
    });
  });
}

/** The words for a status that is not below 400; redirections are not followed. */
function fetchStatus(
  target: Target & { readonly path: string },
  signal: AbortSignal,
): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const request = get({ ...target, signal, agent: false, maxHeaderSize: 16_384 }, (response) => {
      const { statusCode = 0 } = response;
      resolve(statusCode < 400 ? undefined : `answered with status ${statusCode}`);
      request.destroy();
    });
    request.once("error", reject);
  });
}

function wordsOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "ECONNREFUSED") return "connection refused";
  if (code === "EHOSTUNREACH" || code === "ENETUNREACH") return "no way there";
  return message;
}
