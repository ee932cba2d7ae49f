/** `marcoboot node run`: a program on many nodes, and what came of it on each. */

import { milliseconds } from "#protocol/brand.ts";
import { isFinished, type JobPlan, type Task } from "#protocol/job.ts";
import { systemClock } from "../../clock.ts";
import {
  type Command,
  CommandError,
  confirm,
  type ExitCode,
  exitCodes,
  flagOf,
  type Run,
  required,
  textOf,
  UsageError,
  yesOption,
} from "../command.ts";
import type { Job, JobWithTasks, Node, Page } from "../shapes.ts";
import { namedValue } from "./job-request.ts";

const lookEvery = milliseconds(1000);
const atOnce = 20; // logs read at the same time

interface NodeResult {
  readonly node: string;
  readonly state: Task["state"];
  readonly reason?: string;
  readonly output: readonly string[];
}

function parametersOf({ positionals, values }: Run): Record<string, unknown> {
  const [, ...words] = positionals;
  const command = textOf(values, "command");
  const timeout = textOf(values, "seconds");
  if (timeout !== undefined && !/^\d{1,5}$/.test(timeout)) {
    throw new UsageError(`--seconds ${timeout} is not a whole number`);
  }
  if (command === undefined && words.length === 0) {
    throw new UsageError("a program is missing: write it after --, or name a --command");
  }
  return {
    ...(command === undefined
      ? { argv: words }
      : { command, values: Object.fromEntries(words.map(namedValue)) }),
    ...(timeout !== undefined && { timeoutSeconds: Number(timeout) }),
  };
}

async function runOnNodes(run: Run): Promise<ExitCode> {
  const { client, output, values } = run;
  const selector = required(run.positionals[0], "SELECTOR");
  const request = { kind: "run", selector, parameters: parametersOf(run) };
  const isDry = flagOf(values, "dry-run");
  if (isDry || !flagOf(values, "yes")) {
    const dry = { ...request, dryRun: true };
    const plan = (await client.send("POST", "/api/v1/jobs", dry)) as JobPlan;
    if (isDry) {
      const rows = plan.nodes.map((node) => [node.name, node.does, node.refused]);
      output.table(["node", "does", "refused"], rows, plan);
      return exitCodes.done;
    }
    const [first] = plan.nodes;
    await confirm(run, `${plan.nodes.length} nodes: ${first?.does}`, "run");
  }
  const { id } = (await client.send("POST", "/api/v1/jobs", request)) as Job;
  output.say(`job ${id} is made`);
  const job = await untilEnded(run, id);
  const results = await resultsOf(run, job);
  output.table(
    ["node", "state", "last line"],
    results.map(({ node, state, reason, output: lines }) => [node, state, reason ?? lines.at(-1)]),
    results,
  );
  if (job.state === "done") return exitCodes.done;
  return results.some(({ state }) => state === "done") ? exitCodes.someFailed : exitCodes.failed;
}

async function untilEnded({ client, output, signal }: Run, id: string): Promise<JobWithTasks> {
  for (;;) {
    const job = (await client.get(`/api/v1/jobs/${id}`)) as JobWithTasks;
    if (isFinished(job.state)) return job;
    const open = job.tasks.filter(({ state }) => !isFinished(state)).length;
    output.progress(`${job.tasks.length - open} of ${job.tasks.length} nodes done`);
    await systemClock.sleep(lookEvery, signal);
    if (signal.aborted) {
      const hint = `marcoboot job cancel ${id} stops it`;
      throw new CommandError(`job ${id} goes on`, exitCodes.usage, hint);
    }
  }
}

async function resultsOf({ client }: Run, { tasks }: JobWithTasks): Promise<NodeResult[]> {
  const { items } = (await client.get("/api/v1/nodes")) as Page<Node>;
  const names = new Map(items.map(({ id, name }) => [id, name]));
  const results: NodeResult[] = [];
  for (let first = 0; first < tasks.length; first += atOnce) {
    const some = tasks.slice(first, first + atOnce).map(async (task) => {
      const log = (await client.get(`/api/v1/tasks/${task.id}/log`)) as Page<{ line: string }>;
      return {
        node: names.get(task.nodeId) ?? task.nodeId,
        state: task.state,
        ...(task.reason !== undefined && { reason: task.reason }),
        output: log.items.map(({ line }) => line),
      };
    });
    results.push(...(await Promise.all(some)));
  }
  return results;
}

export const nodeRunCommands: readonly Command[] = [
  {
    noun: "node",
    verb: "run",
    about: "run a program on nodes, by their agents or by SSH",
    positionals: ["SELECTOR", "[WORDS...]"],
    options: {
      command: {
        type: "string",
        value: "NAME",
        about: "a command of the configuration; WORDS are its name=value; else WORDS are a program",
      },
      seconds: { type: "string", value: "SECONDS", about: "how long it may take; default 600" },
      "dry-run": { type: "boolean", about: "only say on which nodes it would run" },
      yes: yesOption,
    },
    examples: [
      "marcoboot node run stack:lab/a -- uname -r",
      "marcoboot node run all --command apt-install package=htop --yes --json",
    ],
    run: runOnNodes,
  },
];
