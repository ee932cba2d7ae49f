/**
 * Maintenance windows: whether something that was planned may begin now.
 *
 * A window is as long on the clock that never jumps as its minutes say, whatever
 * the wall clock does meanwhile.
 */

import { type Instant, instant } from "#protocol/brand.ts";
import type { Window } from "#protocol/schedule.ts";
import type { Store } from "../store/store.ts";
import { momentText, nextAfter, parseRecurrence, parseZone } from "./recurrence.ts";

/** @throws InvalidInputError naming what is wrong with when it opens, or where */
export function checkedWindow(window: Window): Window {
  parseRecurrence(window.opens);
  return { ...window, zone: parseZone(window.zone) };
}

/** Who still needs the window, in words. */
export function userOfWindow(name: string, store: Store): string | undefined {
  const job = store.jobs.unfinished().find(({ window }) => window === name);
  if (job) return `job ${job.id}`;
  for (let page = store.schedules.list({ limit: 1000 }); page.length > 0; ) {
    const schedule = page.find(({ window }) => window === name);
    if (schedule) return `schedule ${schedule.name}`;
    page = store.schedules.list({ limit: 1000, after: page.at(-1)?.name ?? "" });
  }
  return undefined;
}

/** When the window that is open now closes; undefined while it is closed. */
export function closesAt({ opens, zone, minutes }: Window, now: Instant): Instant | undefined {
  const length = minutes * 60_000;
  const opened = nextAfter(parseRecurrence(opens), zone, instant(now - length));
  return opened !== undefined && opened <= now ? instant(opened + length) : undefined;
}

/**
 * Why nothing planned may begin now, in plain words; undefined when it may.
 *
 * @param window - the one the job is bound to
 * @param all - every window there is; those that forbid concern everybody
 */
export function whyClosed(
  window: Window | undefined,
  all: readonly Window[],
  now: Instant,
): string | undefined {
  for (const one of all) {
    const until = one.effect === "forbids" ? closesAt(one, now) : undefined;
    if (until !== undefined) return `${one.name} forbids it until ${momentText(until, one.zone)}`;
  }
  if (!window || closesAt(window, now) !== undefined) return undefined;
  const next = nextAfter(parseRecurrence(window.opens), window.zone, now);
  return next === undefined
    ? `window ${window.name} never opens again`
    : `window ${window.name} opens ${momentText(next, window.zone)}`;
}
