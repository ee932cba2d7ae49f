/**
 * Domain events inside the process: every room says here what happened, none
 * needs to know who listens. Listeners run at once, in order; one that throws
 * is logged and does not disturb the others.
 */

import { milliseconds } from "#protocol/brand.ts";
import type { DomainEvent, EventTopic } from "#protocol/events.ts";
import type { Clock } from "./clock.ts";
import type { Log } from "./log.ts";

export type EventOf<Topic extends EventTopic> = Extract<DomainEvent, { topic: Topic }>;

export interface EventBus {
  publish(event: DomainEvent): void;
  /** Returns the function that ends the subscription. */
  subscribe(listener: (event: DomainEvent) => void): () => void;
  on<Topic extends EventTopic>(topic: Topic, listener: (event: EventOf<Topic>) => void): () => void;
}

/** The bus of a room whose clients wait for its answers. */
export interface UnhurriedBus extends EventBus {
  /** Runs `work` when its turn among the events has come; what it throws is logged. */
  afterwards(work: () => void): void;
}

const gather = milliseconds(10);

/**
 * What is published here is heard a moment later, in its order and many at a time: who listens
 * takes more time than the answers, and the next question often comes right after one.
 */
export function unhurried(
  events: EventBus,
  { clock, log }: { readonly clock: Pick<Clock, "sleep">; readonly log: Log },
): UnhurriedBus {
  let waiting: (() => void)[] = [];
  let isTurn = false;
  const flush = (): void => {
    const due = waiting;
    waiting = [];
    isTurn = true;
    for (const work of due) {
      try {
        work();
      } catch (error) {
        log.error({ err: error }, "what was to be told was not");
      }
    }
    isTurn = false;
  };
  const afterwards = (work: () => void): void => {
    waiting.push(work);
    if (waiting.length === 1) void clock.sleep(gather).then(flush);
  };
  return {
    ...events,
    afterwards,
    publish(event) {
      if (isTurn) events.publish(event);
      else afterwards(() => events.publish(event));
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
