/** `marcoboot window …`: when planned jobs may begin, and when they may not. */

import type { Instant } from "#protocol/brand.ts";
import type { WindowView } from "#protocol/schedule.ts";
import { momentText } from "../../job/recurrence.ts";
import { type Command, exitCodes, flagOf, type Run, required, textOf } from "../command.ts";
import type { Page } from "../shapes.ts";
import { textMembers, zoneOf, zoneOption } from "./job-request.ts";
import { dryRunOption, numberMember, pathOf, plannedCommands } from "./planned.ts";

const options = {
  opens: {
    type: "string",
    value: "WHEN",
    about: '"sat,sun 02:00", "daily 02:00", cron "0 2 * * 2#2", or once "2026-12-24 18:00"',
  },
  minutes: { type: "string", value: "MINUTES", about: "how long it stays open" },
  zone: zoneOption,
} as const;

function showNext({ output }: Run, window: WindowView): void {
  output.table(
    ["opens", "closes"],
    window.next.map((at) => [
      momentText(at, window.zone),
      momentText((at + window.minutes * 60_000) as Instant, window.zone),
    ]),
    window,
  );
}

function membersOf(run: Run): object {
  return {
    ...textMembers(run, { opens: "opens", zone: "zone" }),
    ...numberMember(run, "minutes", "minutes"),
  };
}

export const windowCommands: readonly Command[] = [
  {
    noun: "window",
    verb: "list",
    about: "maintenance windows and blackouts",
    positionals: [],
    options: {},
    examples: ["marcoboot window list"],
    async run({ client, output }) {
      const { items } = (await client.get("/api/v1/windows")) as Page<WindowView>;
      output.table(
        ["name", "effect", "opens", "minutes", "zone", "now", "next"],
        items.map(({ name, effect, opens, minutes, zone, openUntil, next: [next] }) => [
          name,
          effect,
          opens,
          minutes,
          zone,
          openUntil === undefined ? "closed" : `until ${momentText(openUntil, zone)}`,
          next === undefined ? "never" : momentText(next, zone),
        ]),
        items,
      );
      return exitCodes.done;
    },
  },
  {
    noun: "window",
    verb: "add",
    about: "make or replace a window, and show when it opens",
    positionals: ["NAME"],
    options: {
      ...options,
      forbid: { type: "boolean", about: "a blackout: nothing that was planned begins inside" },
      "dry-run": dryRunOption,
    },
    examples: [
      'marcoboot window add night --opens "daily 02:00" --minutes 120 --zone Europe/Madrid',
      'marcoboot window add holidays --opens "2026-12-23 00:00" --minutes 20160 --forbid',
    ],
    async run(run) {
      const { values, client } = run;
      required(textOf(values, "opens"), "--opens");
      required(textOf(values, "minutes"), "--minutes");
      const window = (await client.send("PUT", pathOf("window", run), {
        ...membersOf(run),
        effect: flagOf(values, "forbid") ? "forbids" : "allows",
        zone: zoneOf(run),
        dryRun: flagOf(values, "dry-run"),
      })) as WindowView;
      showNext(run, window);
      return exitCodes.done;
    },
  },
  ...plannedCommands<WindowView>({
    noun: "window",
    showNext,
    aboutNext: "the next five times it opens and closes",
    aboutRemove: "forget a window that nothing needs",
    example: "night",
    options,
    membersOf,
    setExamples: [
      "marcoboot window set night --minutes 180",
      'marcoboot window set night --opens "sat,sun 02:00" --dry-run',
    ],
  }),
];
