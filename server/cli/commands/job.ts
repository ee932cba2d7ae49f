/** `marcoboot job …` */

import { milliseconds } from "#protocol/brand.ts";
import { type JobPlan, jobKinds } from "#protocol/job.ts";
import { remedyOf } from "#protocol/remedy.ts";
import { healthText } from "#protocol/rollout-text.ts";
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
  yesOption,
} from "../command.ts";
import {
  type Job,
  type JobWithTasks,
  type Node,
  type Page,
  type StoredEvent,
  type Task,
  timeText,
} from "../shapes.ts";
import {
  kindOptions,
  parametersOf,
  rolloutOf,
  rolloutOptions,
  selectOption,
  textMembers,
  whenOf,
  whenOptions,
  wholeNumber,
} from "./job-request.ts";

const waitOptions: Readonly<Record<string, OptionSpec>> = {
  wait: { type: "boolean", about: "stay until the job has ended" },
  timeout: { type: "string", value: "SECONDS", about: "with --wait: give up then (exit code 6)" },
};

const createOptions: Readonly<Record<string, OptionSpec>> = {
  select: selectOption,
  ...kindOptions,
  ...whenOptions,
  ...rolloutOptions,
  why: { type: "string", value: "TEXT", about: "for the audit" },
  "dry-run": { type: "boolean", about: "only say what would happen and what would be lost" },
  yes: yesOption,
  ...waitOptions,
};

async function plan(run: Run, request: object): Promise<JobPlan> {
  return (await run.client.send("POST", "/api/v1/jobs", { ...request, dryRun: true })) as JobPlan;
}

function showPlan({ output }: Run, found: JobPlan): void {
  if (found.waitsFor !== undefined) output.say(`waits: ${found.waitsFor}`);
  output.table(
    ["node", "does", "loses", "refused", "batch", "after"],
    found.nodes.map((node) => [
      node.name,
      node.does,
      node.loses,
      node.refused,
      node.batch,
      node.after,
    ]),
    found,
  );
}

/** What is lost is said before it is: only a plan that loses nothing needs no word. */
async function confirmPlan(run: Run, kind: string, found: JobPlan): Promise<void> {
  const count = `${found.nodes.length} node${found.nodes.length === 1 ? "" : "s"}`;
  const losing = found.nodes.filter(({ loses }) => loses !== undefined);
  if (losing.length === 0) return confirm(run, `${kind} of ${count}.`, kind);
  const lines = losing.map(({ name, does, loses }) => `  ${name}: ${does}; lost: ${loses}`);
  const word = found.nodes.length === 1 ? (found.nodes[0]?.name ?? kind) : `${kind} ${count}`;
  return confirm(run, `${lines.join("\n")}\n${kind} of ${count}.`, word);
}

async function create(run: Run): Promise<ExitCode> {
  const kind = required(run.positionals[0], "KIND");
  const selector = required(textOf(run.values, "select"), "--select");
  const [when, rollout] = [whenOf(run), rolloutOf(run)];
  const request = {
    kind,
    selector,
    parameters: parametersOf(kind, run),
    ...(when && { when }),
    ...(rollout && { rollout }),
    ...textMembers(run, { why: "why" }),
  };
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
    sayRemedies(run, job, await nodeNames(run));
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

/** What to do about the nodes that failed, each thing once. */
function sayRemedies(
  { output }: Run,
  { tasks }: JobWithTasks,
  names: ReadonlyMap<string, string>,
): void {
  const failed = Map.groupBy(tasks, remedyOf);
  for (const [remedy, those] of failed) {
    if (remedy === undefined) continue;
    output.say(`${those.map(({ nodeId }) => names.get(nodeId) ?? nodeId).join(", ")}: ${remedy}`);
  }
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

function pathOf(run: Run): string {
  return `/api/v1/jobs/${encodeURIComponent(required(run.positionals[0], "JOB"))}`;
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
        ["id", "kind", "state", "selector", "by", "made", "waits for"],
        items.map((job) => [
          job.id,
          job.kind,
          job.paused ? "paused" : job.state,
          job.selector,
          job.schedule === undefined ? job.createdBy : `schedule ${job.schedule}`,
          timeText(job.createdAt),
          job.waitsFor,
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
      if (job.waitsFor !== undefined) run.output.say(`waits: ${job.waitsFor}`);
      const health = healthText(job);
      if (health !== undefined) run.output.say(`health: ${health}`);
      run.output.table(
        ["node", "state", "stage", "percent", "attempt", "reason", "task", "batch"],
        job.tasks.map((task) => [
          names.get(task.nodeId) ?? task.nodeId,
          task.state,
          task.stage,
          task.percent,
          task.epoch,
          task.reason,
          task.id,
          task.batch === undefined ? undefined : task.batch + 1,
        ]),
        job,
      );
      sayRemedies(run, job, names);
      return exitCodes.done;
    },
  },
  {
    noun: "job",
    verb: "create",
    about: `make a job: ${jobKinds.join(", ")}`,
    positionals: ["KIND"],
    options: createOptions,
    examples: [
      "marcoboot job create install --select stack:lab/a --image debian-12 --wait",
      "marcoboot job create update --select rack:lab --image debian-13 --keep /etc/app --canary 1",
      "marcoboot job create reboot --select lab-a-1 --yes",
      "marcoboot job create install --select all --image debian-12 --dry-run",
      "marcoboot job create install --select rack:lab --image debian-12 --window night --canary 1 --batch 25% --budget 2",
      "marcoboot job create reboot --select rack:lab --canary 1 --settle 60 --health online,port:22",
      'marcoboot job create reboot --select rack:lab --at "2026-11-22 02:00" --per-stack 1',
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
    verb: "pause",
    about: "let nothing more of a job begin; what runs goes on",
    positionals: ["JOB"],
    options: { reason: { type: "string", value: "TEXT", about: "shown with the job" } },
    examples: ['marcoboot job pause job_… --reason "odd temperatures"'],
    async run(run) {
      const reason = textOf(run.values, "reason");
      const job = await run.client.send("POST", `${pathOf(run)}/pause`, reason ? { reason } : {});
      run.output.value(job, `job ${run.positionals[0]} is paused`);
      return exitCodes.done;
    },
  },
  {
    noun: "job",
    verb: "resume",
    about: "go on with a paused job, also after too much failed",
    positionals: ["JOB"],
    options: {},
    examples: ["marcoboot job resume job_…"],
    async run(run) {
      const job = (await run.client.send("POST", `${pathOf(run)}/resume`)) as Job;
      const waits = job.waitsFor === undefined ? "" : `; waits: ${job.waitsFor}`;
      run.output.value(job, `job ${job.id} goes on${waits}`);
      return exitCodes.done;
    },
  },
  {
    noun: "job",
    verb: "retry",
    about: "make a job for the nodes that failed in this one",
    positionals: ["JOB"],
    options: { yes: yesOption, ...waitOptions },
    examples: ["marcoboot job retry job_… --yes --wait"],
    async run(run) {
      const before = (await run.client.get(pathOf(run))) as JobWithTasks;
      const failed = before.tasks.filter(({ state }) => state === "failed").length;
      await confirm(run, `${before.kind} of ${failed} nodes again.`, before.kind);
      const job = (await run.client.send("POST", `${pathOf(run)}/retry`)) as Job;
      if (flagOf(run.values, "wait")) return waitFor(run, job.id);
      run.output.value(job, job.id);
      return exitCodes.done;
    },
  },
  {
    noun: "job",
    verb: "skip",
    about: "leave one node out of a job, or stop it there",
    positionals: ["JOB", "NODE"],
    options: { yes: yesOption },
    examples: ["marcoboot job skip job_… lab-a-1 --yes"],
    async run(run) {
      const job = (await run.client.get(pathOf(run))) as JobWithTasks;
      const name = required(run.positionals[1], "NODE");
      const names = await nodeNames(run);
      const task = job.tasks.find(({ nodeId }) => names.get(nodeId) === name || nodeId === name);
      if (!task) throw new CommandError(`${name} is not in job ${job.id}`, exitCodes.notFound);
      await confirm(run, `${job.kind} of ${name} will not happen, or stop.`, name);
      const path = `/api/v1/tasks/${encodeURIComponent(task.id)}/cancel`;
      run.output.value(await run.client.send("POST", path), `${name} is left out of ${job.id}`);
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
