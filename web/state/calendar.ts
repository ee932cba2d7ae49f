/** A week of what is planned, on the clock of one zone. Pure: what is asked of a clock is given. */

import type { CalendarEntry } from "#protocol/schedule.ts";

export interface DayEntry {
  readonly entry: CalendarEntry;
  /** `02:00–04:00`, `03:00`; on the days after: `until 04:00`, `all day`. */
  readonly times: string;
}

export interface Day {
  /** `2026-11-22`. */
  readonly date: string;
  /** `Sun 22 Nov`. */
  readonly title: string;
  readonly entries: readonly DayEntry[];
}

const dayMs = 24 * 3_600_000;
/** No zone is farther ahead of UTC. */
const farthestMs = 14 * 3_600_000;

/** Covers the week in every zone: what is to be asked of the server. */
export function rangeOf(week: number, now: number, zone: string) {
  const [first = 0] = daysOf(week, now, zone);
  return { from: Math.max(0, first - farthestMs), days: 9 };
}

export function weekOf(
  entries: readonly CalendarEntry[],
  { week, now, zone }: { readonly week: number; readonly now: number; readonly zone: string },
): readonly Day[] {
  const title = new Intl.DateTimeFormat("en-GB", {
    ...{ weekday: "short", day: "numeric", month: "short", timeZone: "UTC" },
  });
  return daysOf(week, now, zone).map((day) => {
    const date = new Date(day).toISOString().slice(0, 10);
    const own = entries.flatMap((entry) => {
      const times = timesOn(date, entry, zone);
      return times === undefined ? [] : [{ entry, times }];
    });
    return { date, title: title.format(day), entries: own };
  });
}

/** When it is, or as long as it goes on; undefined on other days. */
function timesOn(date: string, { at, until }: CalendarEntry, zone: string): string | undefined {
  const begins = dateOf(at, zone);
  if (until === undefined) return begins === date ? timeOf(at, zone) : undefined;
  const ends = dateOf(until - 1, zone);
  if (date < begins || date > ends) return undefined;
  if (begins === ends) return `${timeOf(at, zone)}–${timeOf(until, zone)}`;
  if (date === begins) return `from ${timeOf(at, zone)}`;
  return date === ends ? `until ${timeOf(until, zone)}` : "all day";
}

/** Seven days from today on, as their midnights would be in UTC. */
function daysOf(week: number, now: number, zone: string): readonly number[] {
  const today = Date.parse(`${dateOf(now, zone)}T00:00Z`);
  return Array.from({ length: 7 }, (_, index) => today + (week * 7 + index) * dayMs);
}

function dateOf(at: number, timeZone: string): string {
  const parts = { year: "numeric", month: "2-digit", day: "2-digit" } as const;
  return new Intl.DateTimeFormat("en-CA", { ...parts, timeZone }).format(at);
}

function timeOf(at: number, timeZone: string): string {
  const parts = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
  return new Intl.DateTimeFormat("en-GB", { ...parts, timeZone }).format(at);
}

/** `in 20 minutes`, `in 5 hours`, `in 3 days`. */
export function untilText(at: number, now: number): string {
  const words = new Intl.RelativeTimeFormat("en");
  const minutes = Math.max(0, Math.round((at - now) / 60_000));
  if (minutes < 60) return words.format(minutes, "minute");
  const hours = Math.round(minutes / 60);
  return hours < 36 ? words.format(hours, "hour") : words.format(Math.round(hours / 24), "day");
}

/** `Sun 22 Nov, 02:00 in Europe/Madrid`; the zone is left out when it is the viewer's. */
export function momentIn(at: number, zone: string, viewers: string): string {
  const parts = { weekday: "short", day: "numeric", month: "short" } as const;
  const day = new Intl.DateTimeFormat("en-GB", { ...parts, timeZone: zone }).format(at);
  const where = zone === viewers ? "" : ` in ${zone}`;
  return `${day}, ${timeOf(at, zone)}${where}`;
}
