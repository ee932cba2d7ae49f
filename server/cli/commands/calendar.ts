/** `marcoboot calendar`: what is planned, day by day. */

import { type Instant, instant } from "#protocol/brand.ts";
import type { Calendar, CalendarEntry } from "#protocol/schedule.ts";
import { momentText, parseMoment } from "../../job/recurrence.ts";
import { type Command, exitCodes, textOf } from "../command.ts";
import { wholeNumber, zoneOf } from "./job-request.ts";

const words: Readonly<Record<CalendarEntry["kind"], string>> = {
  window: "window",
  blackout: "blackout: nothing planned begins",
  schedule: "schedule",
  job: "job",
};

export const calendarCommands: readonly Command[] = [
  {
    noun: "calendar",
    verb: "",
    about: "windows, blackouts, runs of schedules and jobs with a time, oldest first",
    positionals: [],
    options: {
      days: { type: "string", value: "DAYS", about: "how many; default 7, at most 31" },
      from: { type: "string", value: "TIME", about: '"2026-12-24 00:00"; default: now' },
      zone: { type: "string", value: "ZONE", about: "on whose clock; default: this machine's" },
    },
    examples: ["marcoboot calendar", "marcoboot calendar --days 31 --zone Europe/Madrid"],
    async run(run) {
      const { client, output, values } = run;
      const zone = zoneOf(run);
      const days = wholeNumber(textOf(values, "days") ?? "7", "--days");
      const from = textOf(values, "from");
      const query = from === undefined ? "" : `&from=${parseMoment(from, zone)}`;
      const calendar = (await client.get(`/api/v1/calendar?days=${days}${query}`)) as Calendar;
      const timeOf = (at: Instant | undefined) => at && momentText(instant(at), zone);
      output.table(
        ["from", "until", "what", "name", "does"],
        calendar.entries.map((entry) => [
          timeOf(entry.at),
          timeOf(entry.until),
          words[entry.kind],
          entry.name,
          entry.text,
        ]),
        calendar,
      );
      if (!calendar.isWhole) output.say("what comes most often is cut short");
      return exitCodes.done;
    },
  },
];
