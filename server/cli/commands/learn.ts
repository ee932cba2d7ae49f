/** `marcoboot learn …`: which node is in which slot, found by powering one after the other. */

import type { Flag, LearningOptions, LearningPreview, LearningStatus } from "#protocol/learning.ts";
import { slotText } from "#protocol/node.ts";
import {
  type Command,
  CommandError,
  confirm,
  type ExitCode,
  exitCodes,
  flagOf,
  type OptionSpec,
  type Run,
  required,
  textOf,
  UsageError,
  yesOption,
} from "../command.ts";

const path = "/api/v1/learnings";
const currentPath = `${path}/current`;

/** Each a time in seconds; the server checks them. */
const timeOptions: Readonly<
  Record<string, OptionSpec & { readonly member: keyof LearningOptions }>
> = {
  "slot-timeout": {
    ...{ type: "string", value: "SECONDS", member: "slotTimeoutSeconds" },
    about: "time the boards of an outlet get to be heard (120)",
  },
  "late-timeout": {
    ...{ type: "string", value: "SECONDS", member: "lateTimeoutSeconds" },
    about: "the same for who was silent and is tried again at the end (2.5 times --slot-timeout)",
  },
  "quiet-time": {
    ...{ type: "string", value: "SECONDS", member: "quietSeconds" },
    about: "listening while every outlet is off (30)",
  },
};

function timesOf({ values }: Run): Readonly<Record<string, number>> {
  return Object.fromEntries(
    Object.entries(timeOptions).flatMap(([name, { member }]) => {
      const text = textOf(values, name);
      if (text === undefined) return [];
      const seconds = Number(text);
      if (text.trim() !== "" && Number.isFinite(seconds)) return [[member, seconds]];
      throw new UsageError(`--${name} ${text} is not a number of seconds`);
    }),
  );
}

function show({ output }: Run, status: LearningStatus): void {
  output.table(
    ["slot", "state", "mac", "address", "note"],
    status.slots.map((one) => [
      slotText(one.slot),
      one.state,
      "mac" in one ? one.mac : undefined,
      "address" in one ? one.address : undefined,
      "reason" in one ? one.reason : undefined,
    ]),
    status,
  );
  if (status.state === "idle") output.say("no rack was learned yet");
  if (status.doing !== undefined) output.say(status.doing);
  if (status.reason !== undefined) output.say(`${status.state}: ${status.reason}`);
  for (const line of flagLines(status.flagged)) output.say(line);
}

/** Boards that only wait for a yes are one line for each stack. */
function flagLines(flags: readonly Flag[]): readonly string[] {
  const guessed = Map.groupBy(
    flags.filter(({ reason }) => reason === "unconfirmed"),
    ({ stack }) => stack ?? "",
  );
  return [
    ...flags
      .filter(({ reason }) => reason !== "unconfirmed")
      .map(({ reason, text, remedy }) => `${reason}: ${text}${remedy ? `\n  ${remedy}` : ""}`),
    ...[...guessed].map(
      ([stack, { length }]) =>
        `unconfirmed: ${length === 1 ? "1 board" : `${length} boards`} of stack ${stack} placed by the order heard alone\n  marcoboot node identify NODE, then: marcoboot learn confirm ${stack}, or learn swap`,
    ),
  ];
}

function isAbout({ mac, slot }: Flag, target: string): boolean {
  const place = slot && [slot.stack, `${slot.stack}/${slot.slot}`];
  return target === "all" || target.toLowerCase() === mac || (place?.includes(target) ?? false);
}

const read = async (run: Run) => (await run.client.get(currentPath)) as LearningStatus;

async function follow(run: Run): Promise<LearningStatus> {
  let status = await read(run);
  if (status.state !== "running") return status;
  for await (const stored of run.client.events("/api/v1/events?topics=learning", run.signal)) {
    const { event } = stored as { event?: { text?: string } };
    if (event?.text) run.output.say(event.text);
    status = await read(run);
    if (status.state !== "running") break;
  }
  return status;
}

async function answer(run: Run, verb: string, body: unknown): Promise<ExitCode> {
  const { done } = (await run.client.send("POST", `${currentPath}/${verb}`, body)) as {
    done: readonly string[];
  };
  run.output.value({ done }, done.length === 0 ? "nothing was left to say" : done.join("\n"));
  return exitCodes.done;
}

function about({ outlets, slots, nodes, secondsAtMost }: LearningPreview): string {
  const minutes = Math.ceil(secondsAtMost / 60);
  const lost = nodes.length === 0 ? "no known node" : nodes.join(" ");
  return `${outlets.length} outlets with ${slots} slots are switched off, then on one by one: ${outlets.join(" ")}\nlose their power: ${lost}\nat most ${minutes} minutes, if no board is ever heard`;
}

export const learnCommands: readonly Command[] = [
  {
    noun: "learn",
    verb: "start",
    about: "power a rack's slots in turn and learn which node is in which",
    positionals: ["RACK"],
    options: {
      wait: { type: "boolean", about: "stay until it has ended" },
      "dry-run": { type: "boolean", about: "only say what would be switched" },
      force: { type: "boolean", about: "although installed nodes run and lose their power" },
      ...timeOptions,
      yes: yesOption,
    },
    examples: ["marcoboot learn start lab --dry-run", "marcoboot learn start lab --wait --yes"],
    async run(run) {
      const rack = required(run.positionals[0], "RACK");
      const request = {
        rack,
        ...timesOf(run),
        ...(flagOf(run.values, "force") && { force: true }),
      };
      if (flagOf(run.values, "dry-run")) {
        const preview = await run.client.send("POST", path, { ...request, dryRun: true });
        run.output.value(preview, about(preview as LearningPreview));
        return exitCodes.done;
      }
      await confirm(run, `The whole rack ${rack} will be switched off first.`, rack);
      const started = await run.client.send("POST", path, request);
      if (!flagOf(run.values, "wait")) {
        run.output.value(started, `learning of ${rack} has begun`);
        return exitCodes.done;
      }
      const status = await follow(run);
      show(run, status);
      if (status.state === "done") return exitCodes.done;
      throw new CommandError(`learning ${status.state}: ${status.reason ?? ""}`, exitCodes.failed);
    },
  },
  {
    noun: "learn",
    verb: "show",
    about: "how the learning goes, or went, and what needs a look",
    positionals: [],
    options: {},
    examples: ["marcoboot learn show"],
    async run(run) {
      show(run, await read(run));
      return exitCodes.done;
    },
  },
  {
    noun: "learn",
    verb: "cancel",
    about: "stop learning; what was on is on again, and what was learned stays",
    positionals: [],
    options: {},
    examples: ["marcoboot learn cancel"],
    async run(run) {
      await run.client.send("DELETE", currentPath);
      const { state, reason } = await read(run);
      run.output.value({ state, reason }, reason ?? "learning is stopped");
      return exitCodes.done;
    },
  },
  {
    noun: "learn",
    verb: "confirm",
    about: "say yes: boards are where learning says, have moved, or were exchanged",
    positionals: ["TARGET"],
    options: { yes: yesOption },
    examples: [
      "marcoboot learn confirm a",
      "marcoboot learn confirm a/1",
      "marcoboot learn confirm dc:a6:32:00:00:01 --yes",
    ],
    async run(run) {
      const target = required(run.positionals[0], "TARGET");
      const { flagged } = await read(run);
      const gone = flagged.filter((flag) => flag.reason === "swapped" && isAbout(flag, target));
      if (gone.length > 0) {
        const text = gone.map((flag) => flag.text).join("\n");
        await confirm(run, `Boards that were exchanged lose their record:\n${text}`, target);
      }
      return await answer(run, "confirm", { targets: [target] });
    },
  },
  {
    noun: "learn",
    verb: "keep",
    about: "say no to what learning asks: everything stays as it was",
    positionals: ["TARGET"],
    options: {},
    examples: ["marcoboot learn keep dc:a6:32:00:00:01"],
    async run(run) {
      const target = required(run.positionals[0], "TARGET");
      return await answer(run, "keep", { targets: [target] });
    },
  },
  {
    noun: "learn",
    verb: "swap",
    about: "exchange the boards of two slots",
    positionals: ["SLOT", "SLOT"],
    options: {},
    examples: ["marcoboot learn swap a/1 a/3"],
    async run(run) {
      const [one, other] = run.positionals;
      const body = { one: required(one, "SLOT"), other: required(other, "second SLOT") };
      return await answer(run, "swap", body);
    },
  },
  {
    noun: "learn",
    verb: "place",
    about: "say which slot a MAC address is in",
    positionals: ["MAC", "SLOT"],
    options: {},
    examples: ["marcoboot learn place dc:a6:32:00:00:01 a/1"],
    async run(run) {
      const [mac, slot] = run.positionals;
      const body = { mac: required(mac, "MAC"), slot: required(slot, "SLOT") };
      return await answer(run, "place", body);
    },
  },
];
