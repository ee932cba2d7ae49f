/**
 * Every change of a task's state, each one transaction over task, attempt, job
 * and node: whoever looks after a crash finds all of it or none. Events go out
 * after the commit.
 */

import type { Report } from "#protocol/agent.ts";
import type { Instant, TaskId } from "#protocol/brand.ts";
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
import type { Store } from "../store/store.ts";
import { kindOf } from "./registry.ts";

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
  /** Makes all changes in `work` one. */
  together(work: () => void): void;
  /** Stores a new job with its tasks, and who asked for it. */
  create(job: Job, tasks: readonly Task[]): void;
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
}

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
  const commit = (work: (publish: Publish) => void): void => {
    const outer = collected;
    const happened = outer ?? [];
    collected = happened;
    try {
      store.transaction(() => work((event) => void happened.push(event)));
    } finally {
      collected = outer;
    }
    if (outer) return;
    for (const event of happened) events.publish(event);
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
    if (!job) return;
    const state = jobStateOf(store.tasks.ofJob(job.id).map((one) => one.state));
    if (state === job.state) return;
    const after: Job = { ...job, state, ...(isFinished(state) && { endedAt: clock.now() }) };
    store.jobs.put(after);
    publish({ topic: "job", job: after });
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
    if (change && nodes.get(task.nodeId)) nodes.update(task.nodeId, change);
  };

  /** What the kind says the node is after a task that ended without its result. */
  const nodeAfter = (task: Task, reason: string): NodeChange | undefined => {
    const node = nodes.get(task.nodeId);
    return task.epoch > 0 && node
      ? kindOf(task.kind).nodeWhenEnded?.(node, task, reason)
      : undefined;
  };

  const openAttempt = (task: Task): Attempt | undefined => {
    const last = store.attempts.ofTask(task.id).at(-1);
    const open = task.state === "running" && last?.epoch === task.epoch;
    return open && last.endedAt === undefined ? last : undefined;
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
    together: (work) => commit(work),

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
          detail: job.selector,
        });
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
        if (report.status === "done" && report.sshHostKeys) {
          changeNode(task, { sshHostKeys: report.sshHostKeys });
        }
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
        changeNode(task, nodeAfter(task, reason));
        endTask(task, "failed", reason, publish);
      }),

    cancel: (id, reason) =>
      commit((publish) => {
        const task = taskOf(id);
        endAttempt(task, "cancelled", reason);
        changeNode(task, nodeAfter(task, reason));
        endTask(task, "cancelled", reason, publish);
      }),
  };
}

/** A job is what its tasks are: one failed task makes a failed job, but only when all have ended. */
export function jobStateOf(tasks: readonly TaskState[]): JobState {
  if (tasks.every(isFinished)) {
    if (tasks.includes("failed")) return "failed";
    return tasks.includes("cancelled") ? "cancelled" : "done";
  }
  return tasks.every((state) => state === "queued") ? "queued" : "running";
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
  if (report.status === "done") return stageAfterDone;
  const forwards = stages.indexOf(report.stage) > stages.indexOf(present);
  return forwards && agentStages.includes(report.stage) ? report.stage : present;
}

/** A line from a node, fit for a terminal and a page: no control characters. */
function printable(line: string): string {
  return line.slice(0, logLineLength).replace(/[^\P{Cc}\t]/gu, "\ufffd");
}
