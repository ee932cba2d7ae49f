/**
 * When something recurs, on the wall clock of one zone. Pure: text in, moments out.
 *
 *   0 2 * * sat        minute, hour, day of the month, month, day of the week, as in cron;
 *                      `L` is the last day, `2#1` the first Tuesday, `5L` the last Friday
 *   sat,sun 02:00      days and a time; `mon-fri`, `daily`
 *   2026-12-24 18:00   once
 *
 * Both days given, either will do (as in cron). Where clocks are put forward, what
 * falls into the missing hour happens when that ends, once; where they are put back,
 * a time that comes twice counts the first time only. `*` as hour means every hour
 * that passes: none in a missing hour, and again in a repeated one.
 */

import { validateDetailed } from "node-cron";
import { type Instant, instant } from "#protocol/brand.ts";
import { InvalidInputError } from "../errors.ts";

/** Minutes since 1970 as a clock on the wall shows them. */
type WallMinute = number;

export type ParsedRecurrence = { readonly once: WallMinute } | Cron;

interface Cron {
  readonly once?: never;
  /** Minutes of the day, rising. */
  readonly times: readonly number[];
  readonly isEveryHour: boolean;
  readonly isDay: (day: Date) => boolean;
}

const minuteMs = 60_000;
const dayMinutes = 1440;
/** A 29th of February may be eight years away. */
const farthestDays = 8 * 366;

/** @throws InvalidInputError that names the wrong part. */
export function parseRecurrence(text: string): ParsedRecurrence {
  const once = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})$/.exec(text.trim());
  if (once) return { once: wallMinuteOf(`${once[1]}T${once[2]}`) };
  const parts = text.trim().split(/\s+/);
  const [days = "", time = ""] = parts;
  const clock = /^(\d{1,2}):(\d{2})$/.exec(time);
  const isDays = parts.length === 2 && clock !== null;
  const cron = isDays
    ? [clock[2] ?? "", clock[1] ?? "", "*", "*", days === "daily" ? "*" : days]
    : parts;
  if (cron.length === 5) {
    const parsed = parseCron(cron);
    if (nextMatch(parsed, 0) !== undefined) return parsed;
    throw new InvalidInputError(`${JSON.stringify(text)} never comes`);
  }
  throw new InvalidInputError(
    `${JSON.stringify(text)} is no recurrence: five cron fields ("0 2 * * sat"), days and a time ("sat,sun 02:00", "daily 02:00"), or once ("2026-12-24 18:00")`,
  );
}

/** @throws InvalidInputError when it is no IANA zone. */
export function parseZone(zone: string): string {
  try {
    return Temporal.Now.zonedDateTimeISO(zone).timeZoneId;
  } catch (cause) {
    throw new InvalidInputError(
      `${JSON.stringify(zone)} is no time zone: give an IANA name like Europe/Madrid, or UTC`,
      [],
      { cause },
    );
  }
}

/** The first time later than `after`; undefined when it never comes again. */
export function nextAfter(
  recurrence: ParsedRecurrence,
  zone: string,
  after: Instant,
): Instant | undefined {
  const { once } = recurrence;
  const find = (from: WallMinute) =>
    once === undefined ? nextMatch(recurrence, from) : once >= from ? once : undefined;
  const byWall = once !== undefined || !recurrence.isEveryHour;
  for (let segment = segmentAt(zone, after); ; segment = segmentAt(zone, segment.until)) {
    const begins = firstMinute(segment.from, segment.offset);
    // The wall clock jumps from `left` to `begins` here: forward, or back.
    const left = byWall ? firstMinute(segment.from, segment.offsetBefore) : begins;
    const missed = left < begins && segment.from > after ? find(left) : undefined;
    if (missed !== undefined && missed < begins) return instant(segment.from);
    const passed = Math.floor((after + segment.offset) / minuteMs) + 1;
    const minute = find(Math.max(begins, left, passed));
    if (minute === undefined) return undefined;
    const at = minute * minuteMs - segment.offset;
    if (at < segment.until) return instant(at);
  }
}

/** The last time at or before `now`, looked for as far back as a year. */
export function lastUntil(
  recurrence: ParsedRecurrence,
  zone: string,
  now: Instant,
): Instant | undefined {
  for (const hours of [1, 24, 35 * 24, 366 * 24]) {
    let last = nextAfter(recurrence, zone, instant(now - hours * 60 * minuteMs));
    if (last === undefined || last > now) continue;
    for (;;) {
      const next = nextAfter(recurrence, zone, last);
      if (next === undefined || next > now) return last;
      last = next;
    }
  }
  return undefined;
}

/** The first `count` times later than `after`. */
export function nextTimes(
  recurrence: ParsedRecurrence,
  zone: string,
  after: Instant,
  count: number,
): readonly Instant[] {
  const times: Instant[] = [];
  for (let last = after; times.length < count; ) {
    const next = nextAfter(recurrence, zone, last);
    if (next === undefined) break;
    times.push(next);
    last = next;
  }
  return times;
}

/**
 * A moment as people write it: with an offset (`2026-11-22T02:00+01:00`, `…Z`), or
 * on the wall clock of `zone` (`2026-11-22 02:00`).
 *
 * @throws InvalidInputError
 */
export function parseMoment(text: string, zone: string): Instant {
  try {
    const iso = text.trim().replace(" ", "T");
    if (/(?:z|[+-]\d{2}:?\d{2})$/i.test(iso)) {
      return instant(Temporal.Instant.from(iso).epochMilliseconds);
    }
    const wall = Temporal.PlainDateTime.from(iso);
    return instant(wall.toZonedDateTime(parseZone(zone)).epochMilliseconds);
  } catch (cause) {
    if (cause instanceof InvalidInputError) throw cause;
    throw new InvalidInputError(
      `${JSON.stringify(text)} is no time: write 2026-11-22 02:00, or 2026-11-22T02:00+01:00`,
      [],
      { cause },
    );
  }
}

/** For people: `Sun 2026-11-22 02:00 CET`. */
export function momentText(at: Instant, zone: string): string {
  const local = Temporal.Instant.fromEpochMilliseconds(Math.trunc(at)).toZonedDateTimeISO(zone);
  const day = local.toLocaleString("en", { weekday: "short" });
  const name = local.toLocaleString("en-GB", { timeZoneName: "short" }).split(" ").at(-1);
  return `${day} ${local.toPlainDate()} ${local.toPlainTime().toString({ smallestUnit: "minute" })} ${name}`;
}

function wallMinuteOf(iso: string): WallMinute {
  const at = Date.parse(`${iso}Z`);
  const isReal = Number.isFinite(at) && new Date(at).toISOString().startsWith(iso);
  if (!isReal) throw new InvalidInputError(`${iso} is not in the calendar`);
  return at / minuteMs;
}

function parseCron(texts: readonly string[]): Cron {
  const { fields, errors } = validateDetailed(texts.join(" "));
  if (!fields) {
    const wrong = errors.map(({ field, value }) => `${JSON.stringify(value ?? "")} is no ${field}`);
    throw new InvalidInputError(`${JSON.stringify(texts.join(" "))}: ${wrong.join(", ")}`);
  }
  const { hour, minute, dayOfMonth, month, dayOfWeek } = fields;
  // As in cron: two restricted fields widen each other, an open one (`*`, `*/2`) narrows.
  const isEither = !/^[*?]/.test(texts[2] ?? "") && !/^[*?]/.test(texts[4] ?? "");
  return {
    times: hour.flatMap((one) => minute.map((other) => one * 60 + other)).toSorted((a, b) => a - b),
    isEveryHour: texts[1] === "*",
    isDay(date) {
      if (!month.includes(date.getUTCMonth() + 1)) return false;
      const byDay = dayOfMonth.some((day) => isDayOfMonth(day, date));
      const byWeekday = dayOfWeek.some((day) => isDayOfWeek(day, date));
      return isEither ? byDay || byWeekday : byDay && byWeekday;
    },
  };
}

/** `24`, `L`: the last one. */
function isDayOfMonth(day: number | string, date: Date): boolean {
  if (typeof day === "number") return day === date.getUTCDate();
  if (day === "L") return daysLeft(date) === 0;
  throw new InvalidInputError(
    `${JSON.stringify(day)} is no day of the month: 1-31, or L for the last`,
  );
}

/** `2` is Tuesday, `2#1` the first one of the month, `2L` the last one. */
function isDayOfWeek(day: number | string, date: Date): boolean {
  const [weekday, which] = String(day).split(/(?=[#L])/);
  if (Number(weekday) !== date.getUTCDay()) return false;
  if (which === undefined) return true;
  return which === "L" ? daysLeft(date) < 7 : `#${Math.ceil(date.getUTCDate() / 7)}` === which;
}

function daysLeft(date: Date): number {
  const end = Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0);
  return (end - date.getTime()) / (dayMinutes * minuteMs);
}

function nextMatch({ times, isDay }: Cron, from: WallMinute): WallMinute | undefined {
  const firstDay = Math.floor(from / dayMinutes);
  for (let day = firstDay; day < firstDay + farthestDays; day++) {
    if (!isDay(new Date(day * dayMinutes * minuteMs))) continue;
    const earliest = from - day * dayMinutes;
    const time = times.find((one) => one >= earliest);
    if (time !== undefined) return day * dayMinutes + time;
  }
  return undefined;
}

/** First whole wall minute at or after a moment. */
function firstMinute(at: number, offset: number): WallMinute {
  return Math.ceil((at + offset) / minuteMs);
}

/** A time in which the zone's offset from UTC does not change. Milliseconds. */
interface Segment {
  readonly from: number;
  readonly until: number;
  readonly offset: number;
  readonly offsetBefore: number;
}

const segmentsKept = 64;
const segments = new Map<string, Segment[]>();

function segmentAt(zone: string, at: number): Segment {
  let known = segments.get(zone);
  const found = known?.find(({ from, until }) => from <= at && at < until);
  if (found) return found;
  if (!known || known.length >= segmentsKept) {
    known = [];
    segments.set(zone, known);
  }
  // Offsets change at whole seconds: half a second in, "previous" and "next" leave none out.
  const inside = Temporal.Instant.fromEpochMilliseconds(
    Math.floor(at / 1000) * 1000 + 500,
  ).toZonedDateTimeISO(zone);
  const from = inside.getTimeZoneTransition("previous");
  const until = inside.getTimeZoneTransition("next");
  const offset = inside.offsetNanoseconds / 1e6;
  const segment = {
    from: from?.epochMilliseconds ?? Number.NEGATIVE_INFINITY,
    until: until?.epochMilliseconds ?? Number.POSITIVE_INFINITY,
    offset,
    offsetBefore: (from?.subtract({ seconds: 1 }).offsetNanoseconds ?? offset * 1e6) / 1e6,
  };
  known.push(segment);
  return segment;
}
