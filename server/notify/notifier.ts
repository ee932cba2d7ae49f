/**
 * Tells people what happened, by the channels of the configuration. A notice is
 * in the journal before anything is sent, and stays there until the other side
 * took it: a server that was killed, or a mail server that is away, loses none.
 *
 * Quiet by nature: a channel gets at most one message a minute, with everything
 * that came up meanwhile in it.
 */

import { randomUUID } from "node:crypto";
import { type Instant, milliseconds } from "#protocol/brand.ts";
import type { Notice, Occasion, StoredNotice } from "#protocol/notice.ts";
import type { Clock } from "../clock.ts";
import { InvalidInputError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { Log } from "../log.ts";
import type { Store } from "../store/store.ts";
import type { Channel } from "./channel.ts";
import { findLost, lostAfter } from "./lost-nodes.ts";
import { noticeOf } from "./occasions.ts";

const minute = 60_000; // ms
/** After each failure; after the last one the notice is given up. */
const retryAfter = [1, 5, 30, 120, 360, 1440].map((minutes) => minutes * minute);
const spacing = milliseconds(minute);
const perMessage = 50;
const sendPatience = 60_000; // ms

export interface NamedChannel {
  readonly name: string;
  readonly on: readonly Occasion[];
  readonly channel: Channel;
}

export interface Notifier {
  /** Sends a test message by the channel now. @throws InvalidInputError without such a channel, UnavailableError with the reason */
  test(channel: string): Promise<void>;
  readonly channels: readonly { readonly name: string; readonly on: readonly Occasion[] }[];
  close(): Promise<void>;
}

export interface NotifierContext {
  readonly channels: readonly NamedChannel[];
  readonly store: Pick<Store, "nodes" | "tasks" | "jobs" | "settings" | "notices" | "transaction">;
  readonly events: EventBus;
  readonly clock: Clock;
  readonly log: Log;
}

export function createNotifier(context: NotifierContext): Notifier {
  const { channels, store, events, clock, log } = context;
  const startedAt = clock.monotonic();
  const ended = new AbortController();
  const lastSent = new Map<string, number>();
  /** Channels with a message on its way. */
  const busy = new Map<string, Promise<void>>();

  const keep = (notice: Notice) => {
    for (const { name, on } of channels) {
      if (notice.occasion === "test" || !on.includes(notice.occasion)) continue;
      store.notices.add(name, notice);
    }
  };

  const lookForLost = () => {
    if (clock.monotonic() - startedAt < lostAfter) return; // nodes get their time to call us again
    const lost = findLost(store, clock.now());
    store.transaction(() => {
      if (lost.notice) keep(lost.notice);
      lost.remember();
    });
  };

  const pump = (one: NamedChannel) => {
    if (busy.has(one.name) || ended.signal.aborted) return;
    if (clock.monotonic() - (lastSent.get(one.name) ?? -spacing) < spacing) return;
    const due = store.notices.due(one.name, clock.now(), perMessage);
    if (due.length === 0) return;
    lastSent.set(one.name, clock.monotonic());
    busy.set(
      one.name,
      deliver(one, due)
        .catch((error: unknown) => log.error({ err: error }, "a notice could not be recorded"))
        .finally(() => busy.delete(one.name)),
    );
  };

  const deliver = async ({ name, channel }: NamedChannel, due: readonly StoredNotice[]) => {
    const [first] = due;
    const notices = due.map(({ notice }) => notice);
    const id = `notice-${first?.id}-${due.at(-1)?.id}`;
    try {
      await channel.send(notices, id, patience());
      store.transaction(() => {
        for (const one of due) store.notices.put({ ...without(one), sentAt: clock.now() });
      });
    } catch (error) {
      if (ended.signal.aborted) return; // tried again by the next server
      const reason = error instanceof Error ? error.message : String(error);
      log.warn({ channel: name, notices: due.length }, `notices not delivered: ${reason}`);
      store.transaction(() => {
        for (const one of due) store.notices.put(afterFailure(one, reason, clock.now()));
      });
    }
  };

  const patience = () => AbortSignal.any([AbortSignal.timeout(sendPatience), ended.signal]);

  tellMissed(context, keep);
  const unsubscribe = events.subscribe((event) => {
    const notice = noticeOf(event, clock.now(), store);
    if (notice) keep(notice);
  });
  const stops = [
    clock.every(milliseconds(minute), lookForLost),
    clock.every(milliseconds(2000), () => channels.forEach(pump)),
  ];

  return {
    channels: channels.map(({ name, on }) => ({ name, on })),

    async test(name) {
      const one = channels.find((channel) => channel.name === name);
      if (!one) {
        const known = channels.map((channel) => channel.name).join(", ") || "none";
        throw new InvalidInputError(`no channel ${name}; configured: ${known}`);
      }
      const notice: Notice = {
        occasion: "test",
        key: "test",
        at: clock.now(),
        subject: "a test, nothing happened",
        text: `Somebody asked for a test of the channel ${name}.`,
      };
      await one.channel.send([notice], `test-${randomUUID()}`, patience());
    },

    async close() {
      for (const stop of stops) stop();
      unsubscribe();
      ended.abort();
      await Promise.all(busy.values());
    },
  };
}

/** Jobs that ended while nobody was there to say so: the server was killed between the two. */
function tellMissed({ store, clock }: NotifierContext, keep: (notice: Notice) => void): void {
  const newest = 200;
  const recent = clock.now() - 24 * 60 * minute;
  for (const job of store.jobs.list({ limit: newest })) {
    if ((job.endedAt ?? job.paused?.at ?? 0) < recent) continue;
    const notice = noticeOf({ topic: "job", job }, clock.now(), store);
    if (notice) keep(notice); // its key was used before, if it was told
  }
}

function without({ nextAt: _, reason: __, ...rest }: StoredNotice): StoredNotice {
  return rest;
}

function afterFailure(one: StoredNotice, reason: string, now: Instant): StoredNotice {
  const wait = retryAfter[one.failures];
  return {
    ...without(one),
    failures: one.failures + 1,
    reason,
    ...(wait !== undefined && { nextAt: (now + wait) as Instant }),
  };
}
