/** `marcoboot schedule …`: jobs that are made when their time has come. */

import type { ScheduleView } from "#protocol/schedule.ts";
import { momentText } from "../../job/recurrence.ts";
import {
  type Command,
  confirm,
  exitCodes,
  flagOf,
  type OptionSpec,
  type Run,
  required,
  textOf,
  UsageError,
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
  zoneOf,
  zoneOption,
} from "./job-request.ts";
import { dryRunOption, numberMember, pathOf, plannedCommands } from "./planned.ts";

const options: Readonly<Record<string, OptionSpec>> = {
  at: {
    type: "string",
    value: "WHEN",
    about: '"sun 03:00", "daily 02:00", cron "0 3 * * 2#2", or once "2026-12-24 18:00"',
  },
  zone: zoneOption,
  select: selectOption,
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
};
/** What a schedule may be without. */
const removable = ["window", "within", "rollout"];

function showNext({ output }: Run, schedule: ScheduleView): void {
  output.table(
    ["makes a job"],
    schedule.next.map((at) => [momentText(at, schedule.zone)]),
    schedule,
  );
}

function membersOf(run: Run): object {
  const rollout = rolloutOf(run);
  const texts = { at: "at", zone: "zone", selector: "select", window: "window" };
  return {
    ...textMembers(run, { ...texts, missed: "missed", overlap: "overlap" }),
    ...numberMember(run, "withinMinutes", "within"),
    ...(rollout && { rollout }),
  };
}

/** @throws UsageError for what a schedule cannot be without */
function withoutOf({ values }: Run): object {
  const named = textOf(values, "without")?.split(",") ?? [];
  const wrong = named.find((one) => !removable.includes(one));
  if (wrong !== undefined) {
    throw new UsageError(`--without ${wrong}: only ${removable.join(", ")} can be left out`);
  }
  return Object.fromEntries(
    named.map((one) => [one === "within" ? "withinMinutes" : one, null] as const),
  );
}

/** What came of the last time. */
function lastText({ last, zone }: ScheduleView): string | undefined {
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
      const schedule = (await run.client.send(
        "POST",
        `${pathOf("schedule", run)}/${verb}`,
      )) as ScheduleView;
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
    options: { ...options, ...kindOptions, "dry-run": dryRunOption },
    examples: [
      'marcoboot schedule add weekly reboot --at "sun 03:00" --select rack:lab --batch 25%',
      'marcoboot schedule add fresh install --at "0 2 1 * *" --select tag:ci --image debian-12 --dry-run',
    ],
    async run(run) {
      const { values, client, positionals } = run;
      const kind = required(positionals[1], "KIND");
      required(textOf(values, "at"), "--at");
      required(textOf(values, "select"), "--select");
      const schedule = (await client.send("PUT", pathOf("schedule", run), {
        ...membersOf(run),
        zone: zoneOf(run),
        kind,
        parameters: parametersOf(kind, run),
        dryRun: flagOf(values, "dry-run"),
      })) as ScheduleView;
      showNext(run, schedule);
      return exitCodes.done;
    },
  },
  ...plannedCommands<ScheduleView>({
    noun: "schedule",
    showNext,
    aboutNext: "its next five runs",
    aboutRemove: "forget a schedule; jobs it has made go on",
    example: "weekly",
    options: {
      ...options,
      without: { type: "string", value: "WHAT", about: "takes out: window, within, rollout" },
    },
    membersOf: (run) => ({ ...withoutOf(run), ...membersOf(run) }),
    setExamples: [
      'marcoboot schedule set weekly --at "sat 04:00"',
      "marcoboot schedule set weekly --batch 10% --without window --dry-run",
    ],
  }),
  {
    noun: "schedule",
    verb: "run",
    about: "make its job now, beside those it makes by itself",
    positionals: ["NAME"],
    options: { yes: yesOption },
    examples: ["marcoboot schedule run weekly --yes"],
    async run(run) {
      const schedule = (await run.client.get(pathOf("schedule", run))) as ScheduleView;
      await confirm(run, `${schedule.kind} of ${schedule.selector}, now.`, schedule.name);
      const job = (await run.client.send("POST", `${pathOf("schedule", run)}/run`)) as Job;
      run.output.value(job, job.id);
      return exitCodes.done;
    },
  },
  pausing("pause", "make no more jobs until it is resumed"),
  pausing("resume", "make jobs again; what was missed is not made up for"),
];
