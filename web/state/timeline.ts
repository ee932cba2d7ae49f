/**
 * The time line of one node, kept up to date: asked for again a moment after
 * something happened to the node, and once in a while, since a diagnosis
 * changes by silence too. Knows nothing of the browser, so that ava tests it.
 */

import { type ReadonlySignal, signal } from "@preact/signals";
import { type DomainEvent, type StoredEvent, subjectOf } from "#protocol/events.ts";
import type { Node } from "#protocol/node.ts";
import type { Timeline } from "#protocol/timeline.ts";

/** A boot causes dozens of events a second. */
const settleMs = 1000;
const periodMs = 15_000;

export interface TimelineSource {
  readonly news: ReadonlySignal<StoredEvent | undefined>;
  fetch(): Promise<Timeline>;
  /** Calls `work` after so many milliseconds. Returns what prevents it. */
  later(work: () => void, delayMs: number): () => void;
}

export interface LiveTimeline {
  readonly timeline: ReadonlySignal<Timeline | undefined>;
  readonly failed: ReadonlySignal<boolean>;
  stop(): void;
}

export function followTimeline(node: Node, source: TimelineSource): LiveTimeline {
  const timeline = signal<Timeline | undefined>(undefined);
  const failed = signal(false);
  let isStopped = false;
  let cancel: () => void = () => undefined;
  let isSoon = false;

  const plan = (delayMs: number): void => {
    cancel();
    isSoon = delayMs === settleMs;
    cancel = source.later(() => void load(), delayMs);
  };
  async function load(): Promise<void> {
    plan(periodMs);
    try {
      const answer = await source.fetch();
      if (isStopped) return;
      timeline.value = answer;
      failed.value = false;
    } catch {
      failed.value = true; // shown; it is asked for again in a while
    }
  }
  const unsubscribe = source.news.subscribe((news) => {
    if (news && !isSoon && concerns(news.event, node)) plan(settleMs);
  });
  void load();
  return {
    timeline,
    failed,
    stop() {
      isStopped = true;
      unsubscribe();
      cancel();
    },
  };
}

export function concerns(event: DomainEvent, { id, mac, slot, address }: Node): boolean {
  const subject = subjectOf(event);
  if (subject === undefined) return false;
  const place = slot && `${slot.rack}/${slot.stack}/${slot.slot}`;
  return [id, mac, place, address].some((one) => one === subject);
}
