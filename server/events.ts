/**
 * Domain events inside the process: every room says here what happened, none
 * needs to know who listens. Listeners run at once, in order; one that throws
 * is logged and does not disturb the others.
 */

import type { DomainEvent, EventTopic } from "#protocol/events.ts";
import type { Log } from "./log.ts";

export type EventOf<Topic extends EventTopic> = Extract<DomainEvent, { topic: Topic }>;

export interface EventBus {
  publish(event: DomainEvent): void;
  /** Returns the function that ends the subscription. */
  subscribe(listener: (event: DomainEvent) => void): () => void;
  on<Topic extends EventTopic>(topic: Topic, listener: (event: EventOf<Topic>) => void): () => void;
}

/**
 * The same bus for a room whose clients wait for its answers: what it publishes is heard in
 * the next turn of the event loop, in the same order, after what is to be sent has been sent.
 */
export function postponed(events: EventBus): EventBus {
  let waiting: DomainEvent[] = [];
  const flush = (): void => {
    const due = waiting;
    waiting = [];
    for (const event of due) events.publish(event);
  };
  return {
    ...events,
    publish(event) {
      waiting.push(event);
      if (waiting.length === 1) setImmediate(flush);
    },
  };
}

export function createEventBus(log: Log): EventBus {
  const listeners = new Set<(event: DomainEvent) => void>();
  const subscribe = (listener: (event: DomainEvent) => void) => {
    listeners.add(listener);
    return () => void listeners.delete(listener);
  };
  return {
    publish(event) {
      for (const listener of [...listeners]) {
        try {
          listener(event);
        } catch (error) {
          log.error({ err: error, topic: event.topic }, "event listener failed");
        }
      }
    },
    subscribe,
    on: (topic, listener) =>
      subscribe((event) => {
        if (event.topic === topic) listener(event as EventOf<typeof topic>);
      }),
  };
}
