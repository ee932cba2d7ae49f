/** `marcoboot learn …`: which node is in which slot, found by powering one after the other. */

import {
  type Command,
  CommandError,
  confirm,
  exitCodes,
  type Run,
  required,
  yesOption,
} from "../command.ts";

interface Status {
  readonly state: string;
  readonly rack?: string;
  readonly reason?: string;
  readonly slots: readonly {
    readonly state: string;
    readonly slot: { readonly rack: string; readonly stack: string; readonly slot: string };
    readonly mac?: string;
    readonly address?: string;
    readonly reason?: string;
    readonly warning?: string;
  }[];
}

function show({ output }: Run, status: Status): void {
  output.table(
    ["slot", "state", "mac", "address", "note"],
    status.slots.map(({ slot, state, mac, address, reason, warning }) => [
      `${slot.rack}/${slot.stack}/${slot.slot}`,
      state,
      mac,
      address,
      reason ?? warning,
    ]),
    status,
  );
}

async function follow(run: Run): Promise<Status> {
  const read = async () => (await run.client.get("/api/v1/learnings/current")) as Status;
  let status = await read();
  if (status.state !== "running") return status;
  for await (const stored of run.client.events("/api/v1/events?topics=learning", run.signal)) {
    const { event } = stored as { event?: { text?: string } };
    if (event?.text) run.output.say(event.text);
    status = await read();
    if (status.state !== "running") break;
  }
  return status;
}

export const learnCommands: readonly Command[] = [
  {
    noun: "learn",
    verb: "start",
    about: "power a rack's slots in turn and learn which node is in which",
    positionals: ["RACK"],
    options: { wait: { type: "boolean", about: "stay until it has ended" }, yes: yesOption },
    examples: ["marcoboot learn start lab --wait --yes"],
    async run(run) {
      const rack = required(run.positionals[0], "RACK");
      await confirm(run, `The whole rack ${rack} will be switched off first.`, rack);
      const started = await run.client.send("POST", "/api/v1/learnings", { rack });
      if (run.values["wait"] !== true) {
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
    about: "how the learning goes",
    positionals: [],
    options: {},
    examples: ["marcoboot learn show"],
    async run(run) {
      show(run, (await run.client.get("/api/v1/learnings/current")) as Status);
      return exitCodes.done;
    },
  },
  {
    noun: "learn",
    verb: "cancel",
    about: "stop learning; what was learned stays",
    positionals: [],
    options: {},
    examples: ["marcoboot learn cancel"],
    async run({ client, output }) {
      await client.send("DELETE", "/api/v1/learnings/current");
      output.say("learning is stopped");
      return exitCodes.done;
    },
  },
];
