/**
 * When something recurs, on the wall clock of one zone. Pure: text in, moments out.
 *
 *   0 2 * * sat        minute, hour, day of the month, month, day of the week (0 and 7: Sunday)
 *   sat,sun 02:00      days and a time; `mon-fri`, `daily`
 *   2026-12-24 18:00   once
 *
 * Both days given, either will do (as in cron). Where clocks are put forward, what
 * falls into the missing hour happens when that ends, once; where they are put back,
 * a time that comes twice counts the first time only. `*` as hour means every hour
 * that passes: none in a missing hour, and again in a repeated one.
 */

import { type Instant, instant } from "#protocol/brand.ts";
import { InvalidInputError } from "../errors.ts";

/** Minutes since 1970 as a clock on the wall shows them. */
type WallMinute = number;

export type ParsedRecurrence =
  | { readonly once: WallMinute }
  | {
      readonly once?: never;
      /** Minutes of the day, rising. */
      readonly times: readonly number[];
      readonly isEveryHour: boolean;
      readonly isDay: (day: Date) => boolean;
    };

const minuteMs = 60_000;
const dayMinutes = 1440;
/** A 29th of February may be eight years away. */
const farthestDays = 8 * 366;

const monthNames = "jan feb mar apr may jun jul aug sep oct nov dec".split(" ");
const dayNames = "sun mon tue wed thu fri sat".split(" ");
const cronFields = [
  { name: "minute", from: 0, to: 59, words: [] },
  { name: "hour", from: 0, to: 23, words: [] },
  { name: "day of the month", from: 1, to: 31, words: [] },
  { name: "month", from: 1, to: 12, words: ["", ...monthNames] },
  { name: "day of the week", from: 0, to: 7, words: dayNames },
] as const;

/** @throws InvalidInputError that names the wrong part. */
export function parseRecurrence(text: string): ParsedRecurrence {
  const once = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})$/.exec(text.trim());
  if (once) return { once: wallMinuteOf(`${once[1]}T${once[2]}`) };
  const parts = text.trim().toLowerCase().split(/\s+/);
  const [days = "", time = ""] = parts;
  if (parts.length === 5) return parseCron(parts);
  const clock = /^(\d{1,2}):(\d{2})$/.exec(time);
  if (parts.length === 2 && clock) {
    return parseCron([clock[2] ?? "", clock[1] ?? "", "*", "*", days === "daily" ? "*" : days]);
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

function parseCron(texts: readonly string[]): ParsedRecurrence {
  const [minutes, hours, days, months, weekdays] = cronFields.map((field, index) =>
    parseField(texts[index] ?? "", field),
  ) as [Set<number>, Set<number>, Set<number>, Set<number>, Set<number>];
  if (weekdays.has(7)) weekdays.add(0);
  // As in cron: two restricted fields widen each other, an open one (`*`, `*/2`) narrows.
  const isEither = !texts[2]?.startsWith("*") && !texts[4]?.startsWith("*");
  const times = [...hours].flatMap((hour) => [...minutes].map((minute) => hour * 60 + minute));
  const parsed: ParsedRecurrence = {
    times: times.toSorted((a, b) => a - b),
    isEveryHour: texts[1] === "*",
    isDay(date) {
      if (!months.has(date.getUTCMonth() + 1)) return false;
      const byDay = days.has(date.getUTCDate());
      const byWeekday = weekdays.has(date.getUTCDay());
      return isEither ? byDay || byWeekday : byDay && byWeekday;
    },
  };
  if (nextMatch(parsed, 0) === undefined) {
    throw new InvalidInputError(`${JSON.stringify(texts.join(" "))} never comes`);
  }
  return parsed;
}

type CronField = (typeof cronFields)[number];

/** `*`, `5`, `1-5`, `mon-fri`, each with `/step`, in a comma list. */
function parseField(text: string, field: CronField): Set<number> {
  return new Set(text.split(",").flatMap((part) => valuesOf(part, field)));
}

function valuesOf(part: string, field: CronField): readonly number[] {
  const [, range, stepText] = /^(\*|\w+(?:-\w+)?)(?:\/(\d+))?$/.exec(part) ?? [];
  const step = Number(stepText ?? 1);
  if (range === undefined || step === 0) throw wrongField(part, field);
  const { from, to } = field;
  const [first, last] =
    range === "*" ? [from, to] : range.split("-").map((one) => numberOf(one, field));
  const low = first ?? from;
  const end = last ?? (stepText === undefined ? low : to);
  const high = to === 7 && end === 0 && low > 0 ? 7 : end; // sat-sun
  if (high < low) throw wrongField(part, field);
  const count = Math.floor((high - low) / step) + 1;
  return Array.from({ length: count }, (_, index) => low + index * step);
}

function numberOf(word: string, field: CronField): number {
  const named = (field.words as readonly string[]).indexOf(word);
  const value = named >= 0 ? named : /^\d{1,2}$/.test(word) ? Number(word) : -1;
  if (value < field.from || value > field.to) throw wrongField(word, field);
  return value;
}

function wrongField(part: string, { name, from, to }: CronField): InvalidInputError {
  return new InvalidInputError(`${JSON.stringify(part)} is no ${name}: ${from}-${to}`);
}

function nextMatch(
  { times = [], isDay }: Extract<ParsedRecurrence, { readonly once?: never }>,
  from: WallMinute,
): WallMinute | undefined {
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
