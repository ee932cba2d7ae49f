/**
 * Writes domain events to the journal and hands them, numbered, to the streams.
 *
 * Events of one burst are written in one transaction: their ids are the
 * stream's `Last-Event-ID`. An event is news about a state that the journal
 * holds already, so the few milliseconds before it is written can be lost.
 */

import { milliseconds } from "#protocol/brand.ts";
import type { DomainEvent, StoredEvent } from "#protocol/events.ts";
import type { Clock } from "../clock.ts";
import type { EventBus } from "../events.ts";
import type { Log } from "../log.ts";
import type { Store } from "../store/store.ts";

const gather = milliseconds(25);

export interface EventLog {
  /** Called with each event once it is written. Returns the function that ends it. */
  follow(listener: (event: StoredEvent) => void): () => void;
  /** Up to `limit` events after `id`, and what waits to be written among them. */
  since(id: number, limit: number): readonly StoredEvent[];
  /** Id of the newest event; everything published so far is at or before it. */
  lastId(): number;
  close(): void;
}

export function createEventLog(context: {
  store: Store;
  events: EventBus;
  clock: Clock;
  log: Log;
}): EventLog {
  const { store, events, clock, log } = context;
  const listeners = new Set<(event: StoredEvent) => void>();
  const closing = new AbortController();
  let waiting: DomainEvent[] = [];

  const flush = (): void => {
    if (waiting.length === 0) return;
    const batch = waiting;
    waiting = [];
    const at = clock.now();
    const stored = store.transaction(() => batch.map((event) => store.events.append(at, event)));
    for (const event of stored) for (const listener of [...listeners]) listener(event);
  };
  const flushSoon = async (): Promise<void> => {
    await clock.sleep(gather, closing.signal);
    try {
      flush();
    } catch (error) {
      log.error({ err: error }, "events could not be written");
    }
  };
  const unsubscribe = events.subscribe((event) => {
    waiting.push(event);
    if (waiting.length === 1 && !closing.signal.aborted) void flushSoon();
  });

  return {
    follow(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    since(id, limit) {
      flush();
      return store.events.since(id, limit);
    },
    lastId() {
      flush();
      return store.events.lastId();
    },
    close() {
      unsubscribe();
      closing.abort();
      flush();
      listeners.clear();
    },
  };
}
