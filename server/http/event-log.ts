/**
 * Writes domain events to the journal and hands them, numbered, to the streams.
 *
 * Events of one burst are written in one transaction: their ids are the
 * stream's `Last-Event-ID`. An event is news about a state that the journal
 * holds already, so the moment before it is written can be lost. What packets
 * cause comes in hundreds: it waits longer than what people do, and no packet
 * waits until the disk has it; what exceeds its budget (event-budget.ts) is
 * neither written nor streamed.
 */

import { type Milliseconds, milliseconds } from "#protocol/brand.ts";
import type { DomainEvent, StoredEvent } from "#protocol/events.ts";
import type { Clock } from "../clock.ts";
import type { EventBus } from "../events.ts";
import type { Log } from "../log.ts";
import type { Store } from "../store/store.ts";
import { createEventBudget, isCausedByPacket } from "./event-budget.ts";

const gather = milliseconds(100);
/** A rack that boots causes hundreds a second: four transactions then, not forty. */
const gatherPackets = milliseconds(250);
const dropNotice = milliseconds(60_000);

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
  const budget = createEventBudget({ known: store.nodes.list(), clock });
  let waiting: DomainEvent[] = [];
  /** The soonest flush that is on its way. */
  let scheduled: "none" | "later" | "soon" = "none";
  let noticedAt = Number.NEGATIVE_INFINITY;

  const notice = (): void => {
    if (clock.monotonic() - noticedAt < dropNotice) return;
    noticedAt = clock.monotonic();
    log.warn("more packets than the event journal has room for: some are not recorded");
  };
  const flush = (): void => {
    scheduled = "none";
    if (waiting.length === 0) return;
    const batch = waiting;
    waiting = [];
    const waitsForDisk = !batch.every(isCausedByPacket);
    for (const event of store.events.append(clock.now(), batch, { waitsForDisk }))
      for (const listener of [...listeners]) listener(event);
  };
  const flushAfter = async (duration: Milliseconds): Promise<void> => {
    await clock.sleep(duration, closing.signal);
    try {
      flush();
    } catch (error) {
      log.error({ err: error }, "events could not be written");
    }
  };
  const unsubscribe = events.subscribe((event) => {
    if (!budget.allows(event)) return notice();
    waiting.push(event);
    if (closing.signal.aborted || scheduled === "soon") return;
    if (!isCausedByPacket(event)) {
      scheduled = "soon";
      void flushAfter(gather);
    } else if (scheduled === "none") {
      scheduled = "later";
      void flushAfter(gatherPackets);
    }
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
