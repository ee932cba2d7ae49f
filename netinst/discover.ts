/**
 * Finds the install server, and believes only the pinned key.
 *
 * The question leaves by the one interface that is named (no default route is needed), by IPv4 and
 * by IPv6, and is sent again with growing delay; while strangers answer, without. Where a switch
 * eats multicast, the host of `marcoboot.url` is asked by unicast as well: the answer must carry
 * the same signature.
 */

import { randomBytes } from "node:crypto";
import { installService, type Params, type ServerParams } from "#protocol/discovery.ts";
import { ask } from "../server/discovery/shared/ask.ts";
import { createQuery } from "../server/discovery/shared/query.ts";
import type { Link } from "../server/discovery/shared/sockets.ts";
import { createJudge } from "../server/discovery/shared/trust.ts";
import type { Console } from "./console.ts";
import { NetworkError } from "./errors.ts";
import type { PinnedKey } from "./trust.ts";

export interface DiscoverContext {
  readonly key: PinnedKey;
  readonly group: string;
  readonly port: number;
  /** Of the interface to ask through. */
  readonly links: readonly Link[];
  /** Host also asked by unicast. */
  readonly alsoAsk?: string;
  readonly console: Console;
  /** Delay before the question is sent again, doubled each time up to 8 times this. Default 1000. */
  readonly firstDelayMs?: number;
}

/** Lines about strangers; the rest of a flood is only counted. */
const maxRefusalLines = 20;

/** Resolves with the first answer that the pinned key signed. @throws NetworkError when `signal` aborts. */
export async function discover(
  context: DiscoverContext,
  signal: AbortSignal,
): Promise<ServerParams> {
  const { key, links, console } = context;
  const nonce = randomBytes(16).toString("hex");
  const wanted = { service: installService, maxNodes: 1 };
  const query = createQuery(wanted, nonce, createJudge({ site: key }));
  const said = new Set<string>();
  await ask(
    {
      query,
      links,
      group: context.group,
      port: context.port,
      ...(context.alsoAsk !== undefined && { alsoAsk: context.alsoAsk }),
      pauses: pauses(context, () => query.refused().length > 0),
      onAnswer({ addresses: [address], trust }) {
        if (trust.by !== "nobody" || said.size >= maxRefusalLines) return;
        const line = `server at ${address} refused: ${trust.reason}`;
        if (!said.has(line)) console.warn(line); // it answers every question: say it once
        said.add(line);
      },
      onTrouble: (text) => console.info(`discovery: ${text}`),
    },
    signal,
  );
  const [server] = query.found();
  if (server && isServer(server.params)) return server.params;
  throw new NetworkError(
    signal.aborted
      ? "discovery was stopped before a server answered"
      : "the server's answer does not say where it is",
  );
}

/** For ever. */
function* pauses(context: DiscoverContext, isDisturbed: () => boolean): Generator<number> {
  const first = context.firstDelayMs ?? 1000;
  for (let attempt = 0; ; attempt++) {
    if (attempt === 4) {
      const addresses = context.links.map(({ address }) => address).join(" and ");
      context.console.info(`no server has answered yet on ${addresses}; asking on`);
    }
    yield isDisturbed() ? first : Math.min(first * 2 ** attempt, first * 8);
  }
}

function isServer(params: Params): params is Params & ServerParams {
  return ["url", "bootUrl", "hostname", "authority"].every(
    (name) => typeof params[name] === "string",
  );
}
