/**
 * Something the server answers, kept up to date: asked for again a moment after
 * news of it, and once in a while. Knows nothing of the browser, so that ava tests it.
 */

import { type ReadonlySignal, signal } from "@preact/signals";
import type { DomainEvent, StoredEvent } from "#protocol/events.ts";

export interface FollowSource<Answer> {
  readonly news: ReadonlySignal<StoredEvent | undefined>;
  fetch(): Promise<Answer>;
  /** Calls `work` after so many milliseconds. Returns what prevents it. */
  later(work: () => void, delayMs: number): () => void;
}

export interface Followed<Answer> {
  readonly answer: ReadonlySignal<Answer | undefined>;
  readonly failed: ReadonlySignal<boolean>;
  stop(): void;
}

export interface FollowPace {
  /** Many events at once are one question. */
  readonly settleMs: number;
  readonly periodMs: number;
}

/** @param concerns - whether an event may change the answer */
export function follow<Answer>(
  source: FollowSource<Answer>,
  concerns: (event: DomainEvent) => boolean,
  { settleMs, periodMs }: FollowPace,
): Followed<Answer> {
  const answer = signal<Answer | undefined>(undefined);
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
      const found = await source.fetch();
      if (isStopped) return;
      answer.value = found;
      failed.value = false;
    } catch {
      failed.value = true; // shown; it is asked for again in a while
    }
  }
  const unsubscribe = source.news.subscribe((news) => {
    if (news && !isSoon && concerns(news.event)) plan(settleMs);
  });
  void load();
  return {
    answer,
    failed,
    stop() {
      isStopped = true;
      unsubscribe();
      cancel();
    },
  };
}
