/** What is planned between two moments: windows, blackouts, runs of schedules, jobs that wait for their time. */

import { type Instant, instant } from "#protocol/brand.ts";
import type { Calendar, CalendarEntry } from "#protocol/schedule.ts";
import type { Store } from "../store/store.ts";
import { nextAfter, parseRecurrence } from "./recurrence.ts";

/** Of one window or schedule: what comes every minute would fill the calendar alone. */
const mostOfOne = 100;
const mostSchedules = 500;

/** Oldest first. A schedule makes nothing before `now`, or while it is paused. */
export function calendarOf(
  store: Pick<Store, "windows" | "schedules" | "jobs">,
  { from, until, now }: { readonly from: Instant; readonly until: Instant; readonly now: Instant },
): Calendar {
  let isWhole = true;
  const timesOf = (text: string, zone: string, after: Instant): readonly Instant[] => {
    const recurrence = parseRecurrence(text);
    const times: Instant[] = [];
    let next = nextAfter(recurrence, zone, after);
    for (; next !== undefined && next < until; next = nextAfter(recurrence, zone, next)) {
      if (times.length === mostOfOne) {
        isWhole = false;
        break;
      }
      times.push(next);
    }
    return times;
  };
  const windows = store.windows.list().flatMap(({ name, effect, opens, minutes, zone }) => {
    const lengthMs = minutes * 60_000;
    const kind = effect === "allows" ? "window" : "blackout";
    return timesOf(opens, zone, instant(from - lengthMs)).map(
      (at): CalendarEntry => ({ kind, name, zone, at, until: instant(at + lengthMs) }),
    );
  });
  const due = store.schedules.due(until, mostSchedules);
  if (due.length === mostSchedules) isWhole = false;
  const runs = due.flatMap(({ name, at, zone, kind, selector }) =>
    timesOf(at, zone, instant(Math.max(from, now) - 1)).map(
      (moment): CalendarEntry => ({
        kind: "schedule",
        name,
        zone,
        at: moment,
        text: `${kind} of ${selector}`,
      }),
    ),
  );
  const jobs = store.jobs
    .unfinished()
    .flatMap(({ id, kind, selector, notBefore, zone = "UTC" }): CalendarEntry[] =>
      notBefore !== undefined && notBefore >= from && notBefore < until
        ? [{ kind: "job", name: id, zone, at: notBefore, text: `${kind} of ${selector}` }]
        : [],
    );
  return {
    entries: [...windows, ...runs, ...jobs].toSorted((one, other) => one.at - other.at),
    isWhole,
  };
}
