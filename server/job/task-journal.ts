/**
 * Every change of a task's state, each one transaction over task, attempt, job
 * and node: whoever looks after a crash finds all of it or none. Events go out
 * after the commit.
 */

import { isDeepStrictEqual } from "node:util";
import type { Report } from "#protocol/agent.ts";
import type { Instant, JobId, TaskId } from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import {
  type Attempt,
  isFinished,
  type Job,
  type JobState,
  type Stage,
  type Task,
  type TaskState,
} from "#protocol/job.ts";
import type { Clock } from "../clock.ts";
import { NotFoundError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { NodeChange, Nodes } from "../node/nodes.ts";
import type { Store, TaskCount, TransactionOptions } from "../store/store.ts";
import { kindOf } from "./registry.ts";
import { awaitsHealth } from "./rollout.ts";

/** Attempts at a task, the first included. */
export const maxAttempts = 3;
/** Per report; a longer line is cut, further lines are dropped. */
const logLines = 200;
const logLineLength = 2000;

export interface TaskJournal {
  /** @throws NotFoundError */
  task(id: TaskId): Task;
  /** The attempt that runs now; undefined between attempts. */
  openAttempt(task: Task): Attempt | undefined;
  /** Makes all changes in `work` one; where one of them failed that had written, all fail. */
  together<T>(work: () => T): T;
  /** Stores a new job with its tasks, and who asked for it. */
  create(job: Job, tasks: readonly Task[]): void;
  /** A member given as `undefined` is removed. */
  changeJob(id: JobId, change: JobChange): Job;
  /** Tasks that waited may begin. */
  release(ids: readonly TaskId[]): readonly Task[];
  /** What of the job has not begun waits again. */
  recall(job: JobId): void;
  /** A new attempt with the next epoch. */
  begin(id: TaskId): Task;
  setStage(id: TaskId, stage: Stage): void;
  setBootId(id: TaskId, bootId: string): void;
  setPowerOrdered(id: TaskId): void;
  /** Progress, and where `done` leads. The report was found to be of the open attempt. */
  progress(id: TaskId, report: Report): void;
  say(id: TaskId, lines: readonly string[]): void;
  /** The node has proven the result. */
  complete(id: TaskId, change: NodeChange): void;
  /** Ends the open attempt; the task too, unless another attempt may follow. */
  fail(id: TaskId, reason: string, retryable: boolean): void;
  cancel(id: TaskId, reason: string): void;
  /** A task that was done has failed: its node was not healthy. What the node is stays. */
  failAfterAll(id: TaskId, reason: string): void;
}

type Changeable = Pick<Job, "paused" | "forgiven" | "health" | "waitsFor" | "cancelledBy">;
export type JobChange = { readonly [Name in keyof Changeable]?: Changeable[Name] | undefined };

interface JournalContext {
  readonly store: Store;
  readonly nodes: Nodes;
  readonly events: EventBus;
  readonly clock: Clock;
}

type Publish = (event: DomainEvent) => void;

export function createTaskJournal({ store, nodes, events, clock }: JournalContext): TaskJournal {
  let collected: DomainEvent[] | undefined;
  /** One transaction; a change inside a change joins it, and all events wait for the outer commit. */
  const commit = <T>(work: (publish: Publish) => T, options?: TransactionOptions): T => {
    const outer = collected;
    const happened = outer ?? [];
    const before = happened.length;
    collected = happened;
    let value: T;
    try {
      value = store.transaction(() => work((event) => void happened.push(event)), options);
    } catch (error) {
      happened.length = before; // of what was undone nothing is told
      throw error;
    } finally {
      collected = outer;
    }
    if (outer) return value;
    store.afterCommit(() => {
      for (const event of happened) events.publish(event);
    });
    return value;
  };

  const taskOf = (id: TaskId): Task => {
    const task = store.tasks.get(id);
    if (!task) throw new NotFoundError(`no task ${id}`);
    return task;
  };

  const put = (task: Task, publish: Publish): void => {
    store.tasks.put(task);
    publish({ topic: "task", task });
  };

  const refreshJob = (task: Task, publish: Publish): void => {
    const job = store.jobs.get(task.jobId);
    if (!job || (job.state === "running" && store.tasks.hasUnfinished(job.id))) return;
    const after = inItsState(job);
    if (after === job) return;
    store.jobs.put(after);
    publish({ topic: "job", job: after });
  };

  const inItsState = (job: Job): Job => {
    const state = jobStateOf(job, store.tasks.counts(job.id));
    if (state === job.state) return job;
    return isFinished(state)
      ? withoutMembers({ ...job, state, endedAt: clock.now() }, ["paused", "waitsFor"])
      : { ...job, state };
  };

  const moveAll = (
    ids: readonly TaskId[],
    from: TaskState,
    to: TaskState,
    publish: Publish,
  ): readonly Task[] => {
    const moved = ids
      .map(taskOf)
      .filter(({ state }) => state === from)
      .map((task): Task => ({ ...task, state: to }));
    for (const task of moved) put(task, publish);
    const [any] = moved;
    if (any) refreshJob(any, publish);
    return moved;
  };

  const endAttempt = (task: Task, outcome: Attempt["outcome"], reason?: string): void => {
    const attempt = openAttempt(task);
    if (!attempt || !outcome) return;
    store.attempts.put({
      ...attempt,
      endedAt: clock.now(),
      outcome,
      ...(reason !== undefined && { reason }),
    });
  };

  const endTask = (task: Task, state: TaskState, reason: string | undefined, publish: Publish) => {
    const { stageSince: _, bytesPerSecond: __, ...ended } = withStageTime(task, clock.now());
    const after: Task = {
      ...ended,
      state,
      endedAt: clock.now(),
      ...(reason !== undefined && { reason }),
    };
    put(after, publish);
    refreshJob(after, publish);
  };

  const changeNode = (task: Task, change: NodeChange | undefined): void => {
    const node = nodes.get(task.nodeId);
    if (!change || !node) return;
    const { reason: _, ...rest } = change;
    // Why it is held back is for whoever holds it to say.
    nodes.update(task.nodeId, node.quarantined ? rest : change);
  };

  /** What the kind says the node is after a task that ended without its result. */
  const nodeAfter = (
    task: Task,
    reason: string,
    outcome: "failed" | "cancelled",
  ): NodeChange | undefined => {
    const node = nodes.get(task.nodeId);
    return task.epoch > 0 && node
      ? kindOf(task.kind).nodeWhenEnded?.(node, task, reason, outcome)
      : undefined;
  };

  const openAttempt = (task: Task): Attempt | undefined => {
    if (task.state !== "running") return undefined;
    const attempt = store.attempts.get(task.id, task.epoch);
    return attempt?.endedAt === undefined ? attempt : undefined;
  };

  const say = (task: Task, lines: readonly string[], publish: Publish): void => {
    const clean = lines.slice(0, logLines).map(printable);
    if (clean.length === 0) return;
    store.tasks.appendLog(task.id, clock.now(), clean);
    publish({ topic: "task-log", taskId: task.id, nodeId: task.nodeId, lines: clean });
  };

  return {
    task: taskOf,
    openAttempt,
    together: (work) => commit(work, { isWhole: true }),

    create: (job, tasks) =>
      commit((publish) => {
        store.jobs.put(job);
        publish({ topic: "job", job });
        for (const task of tasks) put(task, publish);
        store.audit.append({
          at: clock.now(),
          who: job.createdBy,
          what: `job ${job.kind}`,
          target: job.id,
          detail: job.why === undefined ? job.selector : `${job.selector}: ${job.why}`,
        });
      }),

    changeJob: (id, change) =>
      commit((publish) => {
        const job = store.jobs.get(id);
        if (!job) throw new NotFoundError(`no job ${id}`);
        const changed = withChange(job, change);
        if (isDeepStrictEqual(changed, job)) return job;
        const mayEnd = !isFinished(job.state) && !store.tasks.hasUnfinished(id);
        const after = mayEnd ? inItsState(changed) : changed;
        store.jobs.put(after);
        publish({ topic: "job", job: after });
        return after;
      }),

    release: (ids) => commit((publish) => moveAll(ids, "waiting", "queued", publish)),

    recall: (id) =>
      commit((publish) => {
        const queued = store.tasks
          .counts(id)
          .filter(({ state }) => state === "queued")
          .flatMap(({ batch }) => store.tasks.inState(id, batch, "queued"));
        moveAll(
          queued.map((task) => task.id),
          "queued",
          "waiting",
          publish,
        );
      }),

    begin(id) {
      const before = taskOf(id);
      const node = nodes.get(before.nodeId);
      const now = clock.now();
      const kind = kindOf(before.kind);
      const bootIdBefore = before.bootIdBefore ?? node?.agent?.bootId;
      const { bytesPerSecond: _, ...kept } = withStageTime(before, now);
      const task: Task = {
        ...kept,
        state: "running",
        epoch: before.epoch + 1,
        stage: kind.stages[0],
        stageSince: now,
        percent: 0,
        startedAt: before.startedAt ?? now,
        ...(bootIdBefore !== undefined && { bootIdBefore }),
      };
      commit((publish) => {
        put(task, publish);
        store.attempts.put({ taskId: id, epoch: task.epoch, startedAt: now });
        refreshJob(task, publish);
        if (node) changeNode(task, kind.nodeWhenBegun?.(node));
      });
      return task;
    },

    setStage(id, stage) {
      const task = taskOf(id);
      if (task.stage !== stage)
        commit((publish) => put(atStage(task, stage, clock.now()), publish));
    },

    setBootId(id, bootIdBefore) {
      const task = taskOf(id);
      if (task.bootIdBefore === bootIdBefore) return;
      commit((publish) => put({ ...task, bootIdBefore }, publish));
    },

    setPowerOrdered(id) {
      const attempt = openAttempt(taskOf(id));
      if (attempt) store.attempts.put({ ...attempt, powerOrderedAt: clock.now() });
    },

    progress(id, report) {
      const before = taskOf(id);
      const stage = stageAfter(before, report);
      const sameStage = report.stage === stage;
      const { bytesPerSecond: _, ...moved } = atStage(before, stage, clock.now());
      const task: Task = {
        ...moved,
        ...(sameStage && { percent: Math.min(100, Math.max(0, report.percent)) }),
        ...(sameStage &&
          report.bytesPerSecond !== undefined && { bytesPerSecond: report.bytesPerSecond }),
      };
      const node = nodes.get(before.nodeId);
      commit((publish) => {
        put(task, publish);
        say(task, report.log ?? [], publish);
        if (!node) return;
        if (stage !== before.stage) {
          changeNode(task, kindOf(task.kind).nodeWhenReported?.(node, stage));
        }
        if (report.status === "running") return;
        const { burnIn, ...told } = report;
        const tested = burnIn && { burnIn: { ...burnIn, at: clock.now() } };
        changeNode(task, kindOf(task.kind).nodeWhenTold?.(node, { ...told, ...tested }));
      });
    },

    say: (id, lines) => commit((publish) => say(taskOf(id), lines, publish)),

    complete: (id, change) =>
      commit((publish) => {
        const task = taskOf(id);
        endAttempt(task, "done");
        changeNode(task, change);
        endTask({ ...task, percent: 100 }, "done", undefined, publish);
      }),

    fail: (id, reason, retryable) =>
      commit((publish) => {
        const task = taskOf(id);
        endAttempt(task, "failed", reason);
        if (retryable && task.epoch < maxAttempts) {
          say(task, [`attempt ${task.epoch} of ${maxAttempts} failed: ${reason}`], publish);
          put(task, publish);
          return;
        }
        changeNode(task, nodeAfter(task, reason, "failed"));
        endTask(task, "failed", reason, publish);
      }),

    cancel: (id, reason) =>
      commit((publish) => {
        const task = taskOf(id);
        endAttempt(task, "cancelled", reason);
        changeNode(task, nodeAfter(task, reason, "cancelled"));
        endTask(task, "cancelled", reason, publish);
      }),

    failAfterAll: (id, reason) =>
      commit((publish) => {
        const task = taskOf(id);
        const job = store.jobs.get(task.jobId);
        if (task.state !== "done" || !job || isFinished(job.state)) return;
        say(task, [reason], publish);
        put({ ...task, state: "failed", reason }, publish);
      }),
  };
}

/** What a job is by its tasks (see JobState): it ends when all of them have, and their nodes were asked how they are. */
export function jobStateOf(
  job: Pick<Job, "rollout" | "forgiven" | "health" | "cancelledBy">,
  counts: readonly TaskCount[],
): JobState {
  const states = new Set(counts.map(({ state }) => state));
  const isOpen = [...states].some((state) => !isFinished(state));
  if (!isOpen) {
    if (awaitsHealth(job, counts)) return "running";
    if (states.has("failed")) return "failed";
    return job.cancelledBy !== undefined || !states.has("done") ? "cancelled" : "done";
  }
  if (states.size === 1 && states.has("waiting")) return "waiting";
  const hasBegun = ["running", "done", "failed"].some((state) => states.has(state as TaskState));
  return hasBegun ? "running" : "queued";
}

function withChange(job: Job, change: JobChange): Job {
  const removed = Object.entries(change).flatMap(([name, value]) =>
    value === undefined ? [name as keyof JobChange] : [],
  );
  return withoutMembers({ ...job, ...change } as Job, removed);
}

function withoutMembers(job: Job, names: readonly (keyof JobChange)[]): Job {
  const kept = Object.entries(job).filter(([name]) => !names.some((one) => one === name));
  return Object.fromEntries(kept) as unknown as Job;
}

/** Adds the time since `stageSince` to the present stage. Never negative: wall clocks jump. */
function withStageTime(task: Task, now: Instant): Task {
  const { stage, stageSince } = task;
  if (stage === undefined || stageSince === undefined) return task;
  const seconds = Math.max(0, now - stageSince) / 1000;
  const before = task.stageSeconds[stage] ?? 0;
  return {
    ...task,
    stageSince: now,
    stageSeconds: { ...task.stageSeconds, [stage]: before + seconds },
  };
}

function atStage(task: Task, stage: Stage, now: Instant): Task {
  if (task.stage === stage) return task;
  const { bytesPerSecond: _, ...kept } = withStageTime(task, now);
  return { ...kept, stage, stageSince: now, percent: 0 };
}

/** Where a report moves its task: forwards only, and only within the agent's own work. */
function stageAfter(task: Task, report: Report): Stage {
  const { stages, agentStages, stageAfterDone } = kindOf(task.kind);
  const present = task.stage ?? stages[0];
  const isAgentsTurn = agentStages.includes(present);
  if (!isAgentsTurn) return present;
  if (report.status === "done") {
    return typeof stageAfterDone === "function" ? stageAfterDone(present) : stageAfterDone;
  }
  const forwards = stages.indexOf(report.stage) > stages.indexOf(present);
  return forwards && agentStages.includes(report.stage) ? report.stage : present;
}

/** A line from a node, fit for a terminal and a page: no control characters. */
function printable(line: string): string {
  return line.slice(0, logLineLength).replace(/[^\P{Cc}\t]/gu, "\ufffd");
}
