/** `marcoboot schedule …`: jobs that are made when their time has come. */

import type { Instant } from "#protocol/brand.ts";
import type { Schedule } from "#protocol/schedule.ts";
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
import type { Job, Page } from "../shapes.ts";
import {
  kindOptions,
  parametersOf,
  rolloutOf,
  rolloutOptions,
  selectOption,
  textMembers,
  wholeNumber,
  zoneOf,
  zoneOption,
} from "./job-request.ts";

type ScheduleView = Schedule & { readonly next: readonly Instant[] };

function pathOf(run: Run): string {
  return `/api/v1/schedules/${encodeURIComponent(required(run.positionals[0], "NAME"))}`;
}

function showNext({ output }: Run, schedule: ScheduleView): void {
  output.table(
    ["makes a job"],
    schedule.next.map((at) => [momentText(at, schedule.zone)]),
    schedule,
  );
}

/** What came of the last time. */
function lastText({ last, zone }: Schedule): string | undefined {
  return last && `${momentText(last.due, zone)}: ${last.jobId ?? last.reason}`;
}

function pausing(verb: "pause" | "resume", about: string): Command {
  return {
    noun: "schedule",
    verb,
    about,
    positionals: ["NAME"],
    options: {},
    examples: [`marcoboot schedule ${verb} weekly`],
    async run(run) {
      const schedule = (await run.client.send("POST", `${pathOf(run)}/${verb}`)) as ScheduleView;
      const { due, zone, name, isPaused } = schedule;
      const next = due === undefined ? "never" : momentText(due, zone);
      run.output.value(schedule, isPaused ? `${name} is paused` : `${name} is due ${next}`);
      return exitCodes.done;
    },
  };
}

export const scheduleCommands: readonly Command[] = [
  {
    noun: "schedule",
    verb: "list",
    about: "schedules, when each is due, and what came of the last time",
    positionals: [],
    options: {},
    examples: ["marcoboot schedule list"],
    async run({ client, output }) {
      const items: ScheduleView[] = [];
      for (let after: string | undefined = ""; after !== undefined; ) {
        const query: string = after === "" ? "" : `&after=${encodeURIComponent(after)}`;
        const page = (await client.get(
          `/api/v1/schedules?limit=1000${query}`,
        )) as Page<ScheduleView>;
        items.push(...page.items);
        after = page.next;
      }
      output.table(
        ["name", "kind", "selector", "at", "zone", "due", "last"],
        items.map((one) => [
          one.name,
          one.kind,
          one.selector,
          one.at,
          one.zone,
          one.isPaused ? "paused" : one.due && momentText(one.due, one.zone),
          lastText(one),
        ]),
        items,
      );
      return exitCodes.done;
    },
  },
  {
    noun: "schedule",
    verb: "add",
    about: "make or replace a schedule, and show its next five runs",
    positionals: ["NAME", "KIND"],
    options: {
      at: {
        type: "string",
        value: "WHEN",
        about: '"sun 03:00", "daily 02:00", cron "0 3 * * 2#2", or once "2026-12-24 18:00"',
      },
      zone: zoneOption,
      select: selectOption,
      ...kindOptions,
      window: { type: "string", value: "NAME", about: "its jobs begin in this window only" },
      within: { type: "string", value: "MINUTES", about: "give up what has not begun by then" },
      missed: {
        type: "string",
        value: "POLICY",
        about: "the server was off: skip (default), or run-once for all that was missed",
      },
      overlap: {
        type: "string",
        value: "POLICY",
        about: "its last job has not ended: skip (default), or queue",
      },
      ...rolloutOptions,
      "dry-run": { type: "boolean", about: "only show its next five runs" },
    },
    examples: [
      'marcoboot schedule add weekly reboot --at "sun 03:00" --select rack:lab --batch 25%',
      'marcoboot schedule add fresh install --at "0 2 1 * *" --select tag:ci --image debian-12 --dry-run',
    ],
    async run(run) {
      const { values, client, positionals } = run;
      const kind = required(positionals[1], "KIND");
      const within = textOf(values, "within");
      const rollout = rolloutOf(run);
      const schedule = (await client.send("PUT", pathOf(run), {
        at: required(textOf(values, "at"), "--at"),
        zone: zoneOf(run),
        kind,
        selector: required(textOf(values, "select"), "--select"),
        parameters: parametersOf(kind, run),
        ...textMembers(run, { window: "window", missed: "missed", overlap: "overlap" }),
        ...(within !== undefined && { withinMinutes: wholeNumber(within, "--within") }),
        ...(rollout && { rollout }),
        dryRun: flagOf(values, "dry-run"),
      })) as ScheduleView;
      showNext(run, schedule);
      return exitCodes.done;
    },
  },
  {
    noun: "schedule",
    verb: "next",
    about: "its next five runs",
    positionals: ["NAME"],
    options: {},
    examples: ["marcoboot schedule next weekly"],
    async run(run) {
      showNext(run, (await run.client.get(pathOf(run))) as ScheduleView);
      return exitCodes.done;
    },
  },
  {
    noun: "schedule",
    verb: "run",
    about: "make its job now, beside those it makes by itself",
    positionals: ["NAME"],
    options: { yes: yesOption },
    examples: ["marcoboot schedule run weekly --yes"],
    async run(run) {
      const schedule = (await run.client.get(pathOf(run))) as ScheduleView;
      await confirm(run, `${schedule.kind} of ${schedule.selector}, now.`, schedule.name);
      const job = (await run.client.send("POST", `${pathOf(run)}/run`)) as Job;
      run.output.value(job, job.id);
      return exitCodes.done;
    },
  },
  pausing("pause", "make no more jobs until it is resumed"),
  pausing("resume", "make jobs again; what was missed is not made up for"),
  {
    noun: "schedule",
    verb: "remove",
    about: "forget a schedule; jobs it has made go on",
    positionals: ["NAME"],
    options: { yes: yesOption },
    examples: ["marcoboot schedule remove weekly --yes"],
    async run(run) {
      const [name = ""] = run.positionals;
      await confirm(run, `Schedule ${name} will be forgotten.`, name);
      await run.client.send("DELETE", pathOf(run));
      run.output.value({ removed: name }, `schedule ${name} is gone`);
      return exitCodes.done;
    },
  },
];
