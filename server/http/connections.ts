/**
 * Which TCP connections of a listener stay when there are too many: of all, or of
 * one client. The newest always gets in, for a node that lost its power left
 * connections behind that nobody will ever close. The one that goes is
 *
 *   1. one that serves no request, the longest unused first;
 *   2. else the slowest: fewest octets taken per second since it was opened.
 *
 * So whoever opens connections and stalls loses its own first, and a reader that
 * takes what it is given is the last to go. Pure: sockets and time are passed in.
 */

import type { Ipv4Address, Milliseconds } from "#protocol/brand.ts";

/** A connection as seen from here. */
export interface Connection {
  readonly address: Ipv4Address;
  /** Octets the peer has taken so far. */
  taken(): number;
  /** Ends it at once. */
  end(): void;
}

export interface ConnectionLimits {
  readonly total: number;
  readonly perClient: number;
}

export interface Connections {
  /** Takes it in, ending others where there are too many. */
  add(connection: Connection): void;
  /** A request came in on it, or its answer is out. */
  setBusy(connection: Connection, busy: boolean): void;
  /** It is closed. Idempotent. */
  remove(connection: Connection): void;
}

interface Held {
  readonly connection: Connection;
  readonly since: Milliseconds;
  readonly busy: boolean;
  readonly usedAt: Milliseconds;
}

/** @param onEnd - told of each connection that had to go, for counting */
export function createConnections(
  limits: ConnectionLimits,
  monotonic: () => Milliseconds,
  onEnd: (connection: Connection, reason: "client" | "total") => void,
): Connections {
  const all = new Map<Connection, Held>();
  const byClient = new Map<Ipv4Address, Set<Connection>>();
  const remove = (connection: Connection): void => {
    all.delete(connection);
    const own = byClient.get(connection.address);
    own?.delete(connection);
    if (own?.size === 0) byClient.delete(connection.address);
  };
  const endOne = (candidates: Iterable<Connection>, reason: "client" | "total"): void => {
    const held = [...candidates].flatMap((one) => all.get(one) ?? []);
    const last = leastUseful(held, monotonic());
    if (!last) return;
    remove(last);
    onEnd(last, reason);
    last.end();
  };
  return {
    add(connection) {
      const own = byClient.get(connection.address) ?? new Set();
      if (own.size >= limits.perClient) endOne(own, "client");
      if (all.size >= limits.total) endOne(all.keys(), "total");
      const now = monotonic();
      all.set(connection, { connection, since: now, busy: false, usedAt: now });
      byClient.set(connection.address, own.add(connection));
    },
    setBusy(connection, busy) {
      const held = all.get(connection);
      if (held) all.set(connection, { ...held, busy, usedAt: monotonic() });
    },
    remove,
  };
}

function leastUseful(held: readonly Held[], now: Milliseconds): Connection | undefined {
  const idle = held.filter(({ busy }) => !busy);
  if (idle.length > 0) return lowest(idle, ({ usedAt }) => usedAt);
  return lowest(held, ({ connection, since }) => connection.taken() / Math.max(now - since, 1));
}

function lowest(held: readonly Held[], by: (one: Held) => number): Connection | undefined {
  const ranked = held.map((one) => ({ connection: one.connection, rank: by(one) }));
  return ranked.reduce<(typeof ranked)[number] | undefined>(
    (least, one) => (least === undefined || one.rank < least.rank ? one : least),
    undefined,
  )?.connection;
}
