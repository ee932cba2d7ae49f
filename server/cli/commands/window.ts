/** `marcoboot window …`: when planned jobs may begin, and when they may not. */

import type { Instant } from "#protocol/brand.ts";
import type { Window } from "#protocol/schedule.ts";
import { momentText } from "../../job/recurrence.ts";
import {
  type Command,
  confirm,
  exitCodes,
  flagOf,
  type Run,
  required,
  textOf,
  yesOption,
} from "../command.ts";
import type { Page } from "../shapes.ts";
import { wholeNumber, zoneOf, zoneOption } from "./job-request.ts";

type WindowView = Window & { readonly openUntil?: Instant; readonly next: readonly Instant[] };

function pathOf(run: Run): string {
  return `/api/v1/windows/${encodeURIComponent(required(run.positionals[0], "NAME"))}`;
}

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
      opens: {
        type: "string",
        value: "WHEN",
        about: '"sat,sun 02:00", "daily 02:00", cron "0 2 * * 2#2", or once "2026-12-24 18:00"',
      },
      minutes: { type: "string", value: "MINUTES", about: "how long it stays open" },
      zone: zoneOption,
      forbid: { type: "boolean", about: "a blackout: nothing that was planned begins inside" },
      "dry-run": { type: "boolean", about: "only show when it would open" },
    },
    examples: [
      'marcoboot window add night --opens "daily 02:00" --minutes 120 --zone Europe/Madrid',
      'marcoboot window add holidays --opens "2026-12-23 00:00" --minutes 20160 --forbid',
    ],
    async run(run) {
      const { values, client } = run;
      const window = (await client.send("PUT", pathOf(run), {
        effect: flagOf(values, "forbid") ? "forbids" : "allows",
        opens: required(textOf(values, "opens"), "--opens"),
        minutes: wholeNumber(required(textOf(values, "minutes"), "--minutes"), "--minutes"),
        zone: zoneOf(run),
        dryRun: flagOf(values, "dry-run"),
      })) as WindowView;
      showNext(run, window);
      return exitCodes.done;
    },
  },
  {
    noun: "window",
    verb: "next",
    about: "the next five times it opens and closes",
    positionals: ["NAME"],
    options: {},
    examples: ["marcoboot window next night"],
    async run(run) {
      showNext(run, (await run.client.get(pathOf(run))) as WindowView);
      return exitCodes.done;
    },
  },
  {
    noun: "window",
    verb: "remove",
    about: "forget a window that nothing needs",
    positionals: ["NAME"],
    options: { yes: yesOption },
    examples: ["marcoboot window remove night --yes"],
    async run(run) {
      const [name = ""] = run.positionals;
      await confirm(run, `Window ${name} will be forgotten.`, name);
      await run.client.send("DELETE", pathOf(run));
      run.output.value({ removed: name }, `window ${name} is gone`);
      return exitCodes.done;
    },
  },
];
