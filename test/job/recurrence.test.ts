import test from "ava";
import { type Instant, instant } from "#protocol/brand.ts";
import { InvalidInputError } from "../../server/errors.ts";
import {
  momentText,
  nextAfter,
  nextTimes,
  parseMoment,
  parseRecurrence,
  parseZone,
} from "../../server/job/recurrence.ts";

const at = (iso: string): Instant => instant(Date.parse(iso));
const iso = (moment: Instant | undefined) => moment && new Date(moment).toISOString().slice(0, 16);
const next = (text: string, zone: string, after: string) =>
  iso(nextAfter(parseRecurrence(text), zone, at(after)));

const berlin = "Europe/Berlin"; // +1; forward 2026-03-29 02:00, back 2026-10-25 03:00
const table = [
  ["0 2 * * sat", "UTC", "2026-11-18T00:00Z", "2026-11-21T02:00"],
  ["0 2 * * sat", "UTC", "2026-11-21T02:00Z", "2026-11-28T02:00"],
  ["sat 02:00", "UTC", "2026-11-18T00:00Z", "2026-11-21T02:00"],
  ["sat-sun 02:00", "UTC", "2026-11-21T02:00Z", "2026-11-22T02:00"],
  ["mon-fri 22:30", berlin, "2026-11-21T12:00Z", "2026-11-23T21:30"],
  ["daily 00:00", berlin, "2026-07-01T00:00Z", "2026-07-01T22:00"],
  ["*/15 * * * *", "UTC", "2026-11-21T10:15Z", "2026-11-21T10:30"],
  ["5-59/20 3 * * *", "UTC", "2026-11-21T03:05Z", "2026-11-21T03:25"],
  ["0 3 * * 2#2", "UTC", "2026-11-21T00:00Z", "2026-12-08T03:00"],
  ["0 3 * * 5L", "UTC", "2026-11-21T00:00Z", "2026-11-27T03:00"],
  ["0 3 L * *", "UTC", "2026-11-21T00:00Z", "2026-11-30T03:00"],
  ["0 0 29 2 *", "UTC", "2026-01-01T00:00Z", "2028-02-29T00:00"],
  ["0 0 29 2 *", "UTC", "2096-03-01T00:00Z", "2104-02-29T00:00"],
  ["0 0 1 * 7", "UTC", "2026-11-21T00:00Z", "2026-11-22T00:00"],
  ["0 0 1 * sun", "UTC", "2026-11-29T00:00Z", "2026-12-01T00:00"],
  ["0 0 */2 * sun", "UTC", "2026-11-21T00:00Z", "2026-11-29T00:00"],
  ["2026-12-24 18:00", berlin, "2026-11-21T00:00Z", "2026-12-24T17:00"],
  ["2026-12-24 18:00", berlin, "2026-12-24T17:00Z", undefined],
  ["2026-03-29 02:30", berlin, "2026-03-01T00:00Z", "2026-03-29T01:00"],
  ["2026-10-25 02:30", berlin, "2026-10-01T00:00Z", "2026-10-25T00:30"],
  ["30 2 * * *", berlin, "2026-03-28T12:00Z", "2026-03-29T01:00"],
  ["30 2 * * *", berlin, "2026-03-29T01:00Z", "2026-03-30T00:30"],
  ["30 2 * * *", berlin, "2026-10-25T00:30Z", "2026-10-26T01:30"],
  ["30 * * * *", berlin, "2026-03-29T00:30Z", "2026-03-29T01:30"],
  ["30 * * * *", berlin, "2026-10-25T00:30Z", "2026-10-25T01:30"],
  ["0 0 * * *", "Africa/Cairo", "2026-04-23T12:00Z", "2026-04-23T22:00"], // midnight is missing
] as const;
for (const [text, zone, after, expected] of table) {
  test(`${text} in ${zone} after ${after} is ${expected ?? "never"}`, (t) => {
    t.is(next(text, zone, after), expected);
  });
}

const refused = [
  ["", '"" is no recurrence'],
  ["60 * * * *", '"60 * * * *": "60" is no minute'],
  ["0 24 * * *", '"0 24 * * *": "24" is no hour'],
  ["0 0 0 * *", '"0 0 0 * *": "0" is no dayOfMonth'],
  ["0 0 1W * *", '"1W" is no day of the month'],
  ["0 0 * 13 *", '"0 0 * 13 *": "13" is no month'],
  ["0 0 * * funday", '"0 0 * * funday": "funday" is no dayOfWeek'],
  ["*/0 * * * *", '"*/0 * * * *": "*/0" is no minute'],
  ["0 0 30 feb *", '"0 0 30 feb *": "30" is no dayOfMonth'],
  ["sat 25:00", '"00 25 * * sat": "25" is no hour'],
  ["2026-02-30 10:00", "2026-02-30T10:00 is not in the calendar"],
] as const;
for (const [text, message] of refused) {
  test(`refused: ${JSON.stringify(text)}`, (t) => {
    const error = t.throws(() => parseRecurrence(text), { instanceOf: InvalidInputError });
    t.true(error?.message.startsWith(message), error?.message);
  });
}

test("the next five runs of a weekly window are told in its zone, over a change of the clock", (t) => {
  const times = nextTimes(parseRecurrence("sun 02:00"), berlin, at("2026-10-10T00:00Z"), 5);
  t.deepEqual(
    times.map((time) => momentText(time, berlin)),
    [
      "Sun 2026-10-11 02:00 CEST",
      "Sun 2026-10-18 02:00 CEST",
      "Sun 2026-10-25 02:00 CEST",
      "Sun 2026-11-01 02:00 CET",
      "Sun 2026-11-08 02:00 CET",
    ],
  );
});

test("a moment is written with an offset, or on the wall clock of a zone", (t) => {
  t.is(iso(parseMoment("2026-11-22T02:00+01:00", "UTC")), "2026-11-22T01:00");
  t.is(iso(parseMoment("2026-11-22T02:00Z", berlin)), "2026-11-22T02:00");
  t.is(iso(parseMoment("2026-11-22 02:00", berlin)), "2026-11-22T01:00");
  t.throws(() => parseMoment("tomorrow", berlin), { message: /"tomorrow" is no time/ });
  t.throws(() => parseMoment("2026-11-22 02:00", "Mars/Olympus"), { message: /is no time zone/ });
  t.is(parseZone("europe/madrid"), "Europe/Madrid");
});
