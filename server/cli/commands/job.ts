/** `marcoboot job …` */

import { readFileSync } from "node:fs";
import { milliseconds } from "#protocol/brand.ts";
import { systemClock } from "../../clock.ts";
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
import {
  type Job,
  type JobWithTasks,
  type Node,
  type Page,
  type Plan,
  type StoredEvent,
  type Task,
  timeText,
} from "../shapes.ts";

const waitOptions: Readonly<Record<string, OptionSpec>> = {
  wait: { type: "boolean", about: "stay until the job has ended" },
  timeout: { type: "string", value: "SECONDS", about: "with --wait: give up then (exit code 6)" },
};

const createOptions: Readonly<Record<string, OptionSpec>> = {
  select: {
    type: "string",
    short: "s",
    value: "SELECTOR",
    about: "all, rack:R, stack:R/S, slot:R/S/N, state:X, names; commas between",
  },
  image: { type: "string", value: "IMAGE", about: "install: name or digest" },
  disk: {
    type: "string",
    value: "DISK",
    about: "install: kernel name or serial; default: the only fixed disk",
  },
  "authorized-keys": { type: "string", value: "FILE", about: "install: public keys for root" },
  seconds: { type: "string", value: "SECONDS", about: "burn-in: how long; default 600" },
  "write-disks": {
    type: "boolean",
    about: "burn-in: write disks too that are blank or were installed from here",
  },
  warn: { type: "string", value: "SECONDS", about: "reboot, shutdown: warning before; default 0" },
  "dry-run": { type: "boolean", about: "only say what would happen and what would be lost" },
  yes: yesOption,
  ...waitOptions,
};

function parametersOf(kind: string, { values }: Run): Record<string, unknown> {
  if (kind === "identify" || kind === "inventory") return {};
  if (kind === "burn-in") {
    const seconds = textOf(values, "seconds");
    return {
      ...(seconds !== undefined && { seconds: wholeNumber(seconds, "--seconds") }),
      writeDisks: flagOf(values, "write-disks"),
    };
  }
  if (kind !== "install")
    return { warnSeconds: wholeNumber(textOf(values, "warn") ?? "0", "--warn") };
  const keys = textOf(values, "authorized-keys");
  const disk = textOf(values, "disk");
  return {
    image: required(textOf(values, "image"), "--image"),
    ...(disk !== undefined && { disk }),
    ...(keys !== undefined && {
      authorizedKeys: readFileSync(keys, "utf8")
        .split("\n")
        .map((line) => line.trim())
        .filter((line) => line !== "" && !line.startsWith("#")),
    }),
  };
}

function wholeNumber(text: string, name: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`${name} ${text} is not a whole number`);
  return Number(text);
}

async function plan(run: Run, request: object): Promise<Plan> {
  return (await run.client.send("POST", "/api/v1/jobs", { ...request, dryRun: true })) as Plan;
}

function showPlan({ output }: Run, found: Plan): void {
  output.table(
    ["node", "does", "loses", "refused"],
    found.nodes.map((node) => [node.name, node.does, node.loses, node.refused]),
    found,
  );
}

/** What is lost is said before it is: only a plan that loses nothing needs no word. */
async function confirmPlan(run: Run, kind: string, found: Plan): Promise<void> {
  const count = `${found.nodes.length} node${found.nodes.length === 1 ? "" : "s"}`;
  if (kind !== "install") return confirm(run, `${kind} of ${count}.`, kind);
  const lines = found.nodes.map(({ name, does, loses }) => `  ${name}: ${does}; lost: ${loses}`);
  const word = found.nodes.length === 1 ? (found.nodes[0]?.name ?? kind) : `install ${count}`;
  return confirm(run, `${lines.join("\n")}\n${count} will be installed anew.`, word);
}

async function create(run: Run): Promise<ExitCode> {
  const kind = required(run.positionals[0], "KIND");
  const selector = required(textOf(run.values, "select"), "--select");
  const request = { kind, selector, parameters: parametersOf(kind, run) };
  if (flagOf(run.values, "dry-run")) {
    showPlan(run, await plan(run, request));
    return exitCodes.done;
  }
  if (!flagOf(run.values, "yes")) await confirmPlan(run, kind, await plan(run, request));
  const job = (await run.client.send("POST", "/api/v1/jobs", request)) as Job;
  if (!flagOf(run.values, "wait")) {
    run.output.value(job, job.id);
    return exitCodes.done;
  }
  run.output.say(`job ${job.id} is made`);
  return waitFor(run, job.id);
}

const ended = new Set(["done", "failed", "cancelled"]);

/** Follows the job by events, over restarts of the server, and ends with its outcome. */
async function waitFor(run: Run, id: string): Promise<ExitCode> {
  const { output, values, signal } = run;
  const limit = textOf(values, "timeout");
  const late = new AbortController();
  const finished = new AbortController();
  if (limit !== undefined) {
    const duration = milliseconds(wholeNumber(limit, "--timeout") * 1000);
    void systemClock.sleep(duration, finished.signal).then(() => late.abort());
  }
  try {
    const job = await follow(run, id, AbortSignal.any([signal, late.signal]));
    output.value(job, `job ${job.id}: ${job.state}`);
    return outcomeOf(job);
  } catch (error) {
    if (signal.aborted) throw new CommandError(`job ${id} goes on`, exitCodes.usage);
    if (!late.signal.aborted) throw error;
    throw new CommandError(`job ${id} goes on: gave up after ${limit} s`, exitCodes.timeout);
  } finally {
    finished.abort();
  }
}

async function follow(run: Run, id: string, signal: AbortSignal): Promise<JobWithTasks> {
  const { client, output } = run;
  const read = async () =>
    (await client.get(`/api/v1/jobs/${encodeURIComponent(id)}`)) as JobWithTasks;
  const said = new Map<string, string>();
  let job = await read(); // what is wrong with the id or the token ends it here
  const names = await nodeNames(run);
  for (;;) {
    try {
      // The id comes first: what happens between it and the reading is in the stream.
      const { lastEventId } = (await client.get("/api/v1/snapshot")) as { lastEventId: number };
      job = await read();
      sayChanges(run, job, names, said);
      if (ended.has(job.state)) return job;
      const path = `/api/v1/events?topics=job,task&after=${lastEventId}`;
      for await (const stored of client.events(path, signal)) {
        if (!concerns(stored as StoredEvent, id)) continue;
        job = await read();
        sayChanges(run, job, names, said);
        if (ended.has(job.state)) return job;
      }
    } catch (error) {
      if (signal.aborted) throw error;
      output.progress(`server lost: ${error instanceof Error ? error.message : String(error)}`);
    }
    await systemClock.sleep(milliseconds(2000), signal);
    signal.throwIfAborted();
  }
}

function concerns({ event }: Partial<StoredEvent>, id: string): boolean {
  if (event?.topic === "job") return event.job.id === id;
  return event?.topic === "task" && event.task.jobId === id;
}

async function nodeNames({ client }: Run): Promise<ReadonlyMap<string, string>> {
  const { items } = (await client.get("/api/v1/nodes")) as Page<Node>;
  return new Map(items.map((node) => [node.id, node.name]));
}

function sayChanges(
  { output }: Run,
  job: JobWithTasks,
  names: ReadonlyMap<string, string>,
  said: Map<string, string>,
): void {
  for (const task of job.tasks) {
    const name = names.get(task.nodeId) ?? task.nodeId;
    const line = `${name}: ${task.state}${task.stage ? ` ${task.stage}` : ""}${task.reason ? `: ${task.reason}` : ""}`;
    if (said.get(task.id) === line) continue;
    said.set(task.id, line);
    output.say(line);
  }
  output.progress(
    job.tasks
      .filter((task) => task.state === "running")
      .map((task) => `${names.get(task.nodeId) ?? task.nodeId} ${progressOf(task)}`)
      .join("  "),
  );
}

function progressOf(task: Task): string {
  const rate = task.bytesPerSecond ? ` ${(task.bytesPerSecond / 1e6).toFixed(1)} MB/s` : "";
  return `${task.stage ?? task.state} ${Math.round(task.percent)} %${rate}`;
}

function outcomeOf(job: JobWithTasks): ExitCode {
  if (job.state === "done") return exitCodes.done;
  const anyDone = job.tasks.some((task) => task.state === "done");
  return anyDone ? exitCodes.someFailed : exitCodes.failed;
}

export const jobCommands: readonly Command[] = [
  {
    noun: "job",
    verb: "list",
    about: "jobs, newest first",
    positionals: [],
    options: {},
    examples: ["marcoboot job list"],
    async run({ client, output }) {
      const { items } = (await client.get("/api/v1/jobs")) as Page<Job>;
      output.table(
        ["id", "kind", "state", "selector", "by", "made"],
        items.map((job) => [
          job.id,
          job.kind,
          job.state,
          job.selector,
          job.createdBy,
          timeText(job.createdAt),
        ]),
        items,
      );
      return exitCodes.done;
    },
  },
  {
    noun: "job",
    verb: "show",
    about: "a job and its task on each node",
    positionals: ["JOB"],
    options: {},
    examples: ["marcoboot job show job_…"],
    async run(run) {
      const id = encodeURIComponent(required(run.positionals[0], "JOB"));
      const job = (await run.client.get(`/api/v1/jobs/${id}`)) as JobWithTasks;
      const names = await nodeNames(run);
      run.output.table(
        ["node", "state", "stage", "percent", "attempt", "reason", "task"],
        job.tasks.map((task) => [
          names.get(task.nodeId) ?? task.nodeId,
          task.state,
          task.stage,
          task.percent,
          task.epoch,
          task.reason,
          task.id,
        ]),
        job,
      );
      return exitCodes.done;
    },
  },
  {
    noun: "job",
    verb: "create",
    about: "install, reboot or shut down nodes",
    positionals: ["KIND"],
    options: createOptions,
    examples: [
      "marcoboot job create install --select stack:lab/a --image debian-12 --wait",
      "marcoboot job create reboot --select lab-a-1 --yes",
      "marcoboot job create install --select all --image debian-12 --dry-run",
    ],
    run: create,
  },
  {
    noun: "job",
    verb: "watch",
    about: "stay until a job has ended",
    positionals: ["JOB"],
    options: { timeout: waitOptions["timeout"] ?? { type: "string", about: "" } },
    examples: ["marcoboot job watch job_… --timeout 900"],
    run: (run) => waitFor(run, required(run.positionals[0], "JOB")),
  },
  {
    noun: "job",
    verb: "cancel",
    about: "stop a job at the next safe point",
    positionals: ["JOB"],
    options: { yes: yesOption },
    examples: ["marcoboot job cancel job_… --yes"],
    async run(run) {
      const id = required(run.positionals[0], "JOB");
      await confirm(run, `Job ${id} will stop.`, "cancel");
      const job = await run.client.send("POST", `/api/v1/jobs/${encodeURIComponent(id)}/cancel`);
      run.output.value(job, `job ${id} is being cancelled`);
      return exitCodes.done;
    },
  },
  {
    noun: "job",
    verb: "log",
    about: "what a task's agent and the server wrote",
    positionals: ["TASK"],
    options: {},
    examples: ["marcoboot job log task_…"],
    async run({ client, output, positionals }) {
      const id = encodeURIComponent(required(positionals[0], "TASK"));
      const page = (await client.get(`/api/v1/tasks/${id}/log`)) as Page<{
        at: number;
        line: string;
      }>;
      for (const { at, line } of page.items) output.line({ at, line }, `${timeText(at)}  ${line}`);
      return exitCodes.done;
    },
  },
];
