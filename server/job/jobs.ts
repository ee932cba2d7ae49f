/**
 * Jobs: what the admin asks for, what agents report, what agents are ordered.
 *
 * A job is in the journal before {@link Jobs.create} returns. The queue behind
 * it only says when a task may run; it holds nothing that the journal does not,
 * and is filled again from it at start and whenever it was lost.
 */

import type { Assignment, Report, ReportAnswer } from "#protocol/agent.ts";
import {
  type ImageDigest,
  type JobId,
  type Milliseconds,
  milliseconds,
  type NodeId,
  type TaskId,
} from "#protocol/brand.ts";
import { isFinished, type Job, type JobParameters, type Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import type { Clock } from "../clock.ts";
import { AttemptSupersededError, ConflictError, ForbiddenError, NotFoundError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { Log } from "../log.ts";
import type { Nodes } from "../node/nodes.ts";
import type { Shell } from "../ssh/shell.ts";
import type { Store } from "../store/store.ts";
import { assignmentKey, createAssignments, type Order } from "./assignments.ts";
import type { Commands } from "./commands.ts";
import { createConductor, isPlanned } from "./conductor.ts";
import { createGather } from "./gather.ts";
import { createHealth } from "./health.ts";
import type { Captures, Images, Timing } from "./kind.ts";
import { type JobRequest, newJob } from "./new-job.ts";
import type { Probe } from "./probe.ts";
import type { Queue } from "./queue.ts";
import { kindOf } from "./registry.ts";
import { createRunner, type JobMetrics, type JobPower, type JobWindows } from "./runner.ts";
import { createTaskJournal } from "./task-journal.ts";
import { createTickets } from "./tickets.ts";

export type { JobRequest };

export interface Jobs {
  /**
   * Durable before it returns, then queued. A node that cannot take the job
   * gets a failed task with the reason; the others go on.
   *
   * @param alongside - what else is stored in the same transaction
   * @throws InvalidInputError, NotFoundError
   */
  create(request: JobRequest, alongside?: (job: Job) => void): Job;
  /** Cancels what has not ended. Again: nothing happens. @throws NotFoundError, ConflictError when it ended otherwise. */
  cancel(id: JobId, by: string): Job;
  /** Leaves out one node of a job, or stops its task. Again: nothing happens. @throws NotFoundError, ConflictError */
  cancelTask(id: TaskId, by: string): Task;
  /** Nothing more of it begins until it is resumed. @throws NotFoundError, ConflictError when it has ended */
  pause(id: JobId, by: string, reason: string): Job;
  /** Goes on, also after too much failed: what was seen by then counts no more. @throws NotFoundError, ConflictError */
  resume(id: JobId, by: string): Job;
  /** A new job of the same kind for the nodes that failed in this one. @throws NotFoundError, ConflictError when none did */
  retry(id: JobId, by: string): Job;
  /**
   * Durable before it returns.
   *
   * @throws NotFoundError, ForbiddenError (another node's task), AttemptSupersededError
   */
  report(node: NodeId, report: Report): ReportAnswer;
  /** Whether the agent may do something for this attempt now. @throws what {@link report} throws */
  checkAttempt(node: NodeId, attempt: AttemptRef): void;
  assignmentFor(node: NodeId): Assignment | undefined;
  /** `<task>:<epoch>:<action>` of what this boot of the node is to do; asking takes nothing. */
  assignmentNameFor(node: NodeId): string | undefined;
  /** Called with each node that gets an assignment. Returns the function that ends it. */
  onAssignment(listener: (node: NodeId) => void): () => void;
  /**
   * @param known - `<task>:<epoch>:<action>` of what the agent has already: waits for something else
   * @returns undefined when nothing came within `waitMs`, or `signal` aborted.
   */
  waitForAssignment(
    node: NodeId,
    known: string | undefined,
    waitMs: Milliseconds,
    signal: AbortSignal,
  ): Promise<Assignment | undefined>;
  /** Whether the ticket is the present one of a running install of this image, its node not held back. */
  imageAllowed(ticket: string, digest: ImageDigest): boolean;
  /** Goes on with everything unfinished. */
  start(): Promise<void>;
  /** Stops all work where it is, and closes the queue; a later start goes on with it. */
  close(): Promise<void>;
}

/** What an agent names of the attempt it works for. */
export type AttemptRef = Pick<Report, "taskId" | "epoch" | "bootId">;

export interface JobsContext {
  readonly store: Store;
  readonly nodes: Nodes;
  readonly events: EventBus;
  readonly clock: Clock;
  /** Counts what is waited for from this node. Default: `clock`. */
  readonly clockOf?: (node: Node | undefined) => Clock;
  readonly log: Log;
  readonly queue: Queue;
  readonly power: JobPower;
  readonly windows: JobWindows;
  readonly images: Images;
  readonly captures: Captures;
  /** `http://10.77.0.1:8080`, as the node reaches it. */
  readonly bootUrlFor: (node: Node) => string;
  /** @throws ForbiddenError, UnavailableError */
  readonly shellOf: (node: Node, signal: AbortSignal) => Promise<Shell>;
  /** Commands of the configuration: what may be asked of nodes after their batch. */
  readonly commands: Commands;
  readonly probe: Probe;
  /** Lines that every installed system gets in root's `authorized_keys`: the server's own key. */
  readonly authorizedKeys: readonly string[];
  /** Default: {@link usualTiming}. */
  readonly timing?: Partial<Timing>;
  readonly metrics?: JobMetrics;
}

const minutes = (count: number) => milliseconds(count * 60_000);

export const usualTiming: Timing = {
  silence: minutes(3),
  boot: minutes(10),
  manualBoot: minutes(60),
  work: minutes(120),
  firstBoot: minutes(15),
  offSilence: minutes(1),
  retry: milliseconds(10_000),
  sweep: milliseconds(15_000),
};

export function createJobs(context: JobsContext): Jobs {
  const { store, nodes, events, clock, clockOf = () => clock, log, queue } = context;
  const timing = { ...usualTiming, ...context.timing };
  const journal = createTaskJournal(context);
  const gather = createGather(journal.together);
  const assignments = createAssignments(clock);
  const tickets = createTickets(store);

  const enqueue = (tasks: readonly Task[]): void => {
    if (tasks.length === 0) return;
    const entries = tasks.map(({ id, epoch }) => ({ taskId: id, epoch }));
    queue.add(entries).catch((error: unknown) => {
      log.warn({ err: error, tasks: tasks.length }, "queue took no entry; the journal has it");
    });
  };

  const runner = createRunner({
    ...context,
    clockOf,
    journal,
    gather,
    assignments,
    tickets,
    timing,
    onTurn: (task) => enqueue([task]),
  });

  const health = createHealth({
    ...context,
    journal,
    create: (request, alongside) => create(request, alongside),
  });
  const conductor = createConductor({
    ...context,
    journal,
    health,
    onTurn: enqueue,
  });

  /** Unfinished tasks whose turn it is and that do not run here. */
  const waitingForTurn = (): readonly Task[] => {
    const busy = new Set<NodeId>();
    return store.tasks.unfinished().filter((task) => {
      const first = !busy.has(task.nodeId);
      busy.add(task.nodeId);
      return first && !runner.isRunning(task);
    });
  };

  const rebuild = async (): Promise<void> => {
    await queue.rebuild(() =>
      waitingForTurn().map((task) => ({ taskId: task.id, epoch: task.epoch })),
    );
    log.info("queue rebuilt from the journal");
  };
  let isRebuildDue = false;
  const rebuildSoon = (): void => {
    rebuild().catch((error: unknown) => {
      isRebuildDue = true; // the next sweep tries again
      log.warn({ err: error }, "queue could not be rebuilt");
    });
  };

  let wasShort = false;
  /** Redis may lose entries without a word (FLUSHALL, a restart from an old file): then it has fewer than tasks wait. */
  const sweep = async (): Promise<void> => {
    if (!queue.isConnected()) return;
    try {
      const isShort = (await queue.waiting()) < store.tasks.nodesAtWork() - runner.running();
      // One that was just taken is neither here nor there: only twice counts.
      if (isRebuildDue || (isShort && wasShort)) await rebuild();
      isRebuildDue = false;
      wasShort = isShort && !wasShort;
    } catch (error) {
      log.warn({ err: error }, "queue could not be compared with the journal");
    }
  };

  const superseded = (reason: string): AttemptSupersededError => {
    context.metrics?.superseded("report");
    return new AttemptSupersededError(reason);
  };
  const ofPresentEpoch = (nodeId: NodeId, { taskId, epoch }: AttemptRef): Task => {
    const task = store.tasks.get(taskId);
    if (!task) throw new NotFoundError(`no task ${taskId}`);
    if (task.nodeId !== nodeId) throw new ForbiddenError(`task ${task.id} is another node's`);
    if (epoch !== task.epoch || task.epoch === 0) {
      throw superseded(
        `task ${task.id} is at attempt ${task.epoch}, the report is of attempt ${epoch}`,
      );
    }
    return task;
  };
  const checkOpen = (task: Task, bootId: string): void => {
    if (!journal.openAttempt(task)) {
      throw superseded(`attempt ${task.epoch} of task ${task.id} has ended`);
    }
    if (task.bootIdBefore !== undefined && bootId !== task.bootIdBefore) {
      throw superseded(
        `attempt ${task.epoch} of task ${task.id} belongs to an earlier boot of the node`,
      );
    }
  };

  /** Handing out an order is the moment it may take effect. */
  const take = ({ assignment }: Order): Assignment => {
    const { stageWhenFetched } = kindOf(journal.task(assignment.taskId).kind);
    if (stageWhenFetched !== undefined) journal.setStage(assignment.taskId, stageWhenFetched);
    return assignment;
  };
  const isForThisBoot = (order: Order): boolean =>
    nodes.get(order.assignment.nodeId)?.agent?.bootId === order.bootId;

  const existing = (id: JobId): Job => {
    const job = store.jobs.get(id);
    if (!job) throw new NotFoundError(`no job ${id}`);
    return job;
  };
  const unended = ({ id, state }: Job): readonly Task[] => {
    if (isFinished(state)) throw new ConflictError(`job ${id} has ended: ${state}`);
    return store.tasks.ofJob(id).filter((task) => !isFinished(task.state));
  };
  const audit = (who: string, what: string, target: string, detail?: string): void =>
    store.audit.append({ at: clock.now(), who, what, target, ...(detail && { detail }) });
  const waitingOf = (id: JobId): readonly TaskId[] =>
    store.tasks
      .counts(id)
      .filter(({ state }) => state === "waiting")
      .flatMap(({ batch }) => store.tasks.inState(id, batch, "waiting"))
      .map((task) => task.id);
  const seenOf = (id: JobId): NonNullable<Job["forgiven"]> => {
    const counts = store.tasks.counts(id);
    const waiting = counts.filter(({ state }) => state === "waiting");
    const failures = counts
      .filter(({ state }) => state === "failed")
      .reduce((sum, { count }) => sum + count, 0);
    const batch =
      waiting.length > 0
        ? Math.min(...waiting.map(({ batch }) => batch)) - 1
        : Math.max(...counts.map(({ batch }) => batch));
    return { failures, batch };
  };

  const create: Jobs["create"] = (request, alongside) => {
    const { job, tasks } = newJob(request, context);
    journal.together(() => {
      journal.create(job, tasks);
      alongside?.(job);
    });
    log.info({ job: job.id, kind: job.kind, nodes: tasks.length }, "job created");
    if (job.state === "queued") enqueue(tasks);
    else conductor.look(job.id);
    return existing(job.id);
  };

  const afterCancel = (task: Task): void => {
    assignments.withdraw(task.nodeId, task.id);
    runner.wake(task.nodeId);
    // A queued task has no run that would pass the turn on.
    const next = store.tasks.unfinishedOf(task.nodeId)[0];
    if (next && !runner.isRunning(task)) enqueue([next]);
  };

  const cancel: Jobs["cancel"] = (id, by) => {
    const job = existing(id);
    if (job.state === "cancelled") return job;
    const open = unended(job);
    journal.together(() => {
      journal.changeJob(id, { cancelledBy: by, paused: undefined, waitsFor: undefined });
      for (const task of open) journal.cancel(task.id, `cancelled by ${by}`);
      audit(by, "job cancel", id);
    });
    open.forEach(afterCancel);
    for (const asking of job.health?.jobs ?? []) {
      if (!isFinished(existing(asking).state)) cancel(asking, by);
    }
    return existing(id);
  };

  const unsubscribe: (() => void)[] = [];

  return {
    create,

    cancel,

    cancelTask(id, by) {
      const task = store.tasks.get(id);
      if (!task) throw new NotFoundError(`no task ${id}`);
      if (task.state === "cancelled") return task;
      if (isFinished(task.state)) throw new ConflictError(`task ${id} has ended: ${task.state}`);
      journal.together(() => {
        journal.cancel(id, `cancelled by ${by}`);
        audit(by, "task cancel", id);
      });
      afterCancel(task);
      return journal.task(id);
    },

    pause(id, by, reason) {
      const job = existing(id);
      unended(job);
      if (job.paused) return job;
      journal.together(() => {
        journal.recall(id);
        journal.changeJob(id, { paused: { at: clock.now(), by, reason } });
        audit(by, "job pause", id, reason);
      });
      conductor.look(id);
      return existing(id);
    },

    resume(id, by) {
      const job = existing(id);
      unended(job);
      if (!job.paused) return job;
      const seen = job.paused.by === "server" ? { forgiven: seenOf(id) } : {};
      journal.together(() => {
        journal.changeJob(id, { paused: undefined, waitsFor: undefined, ...seen });
        audit(by, "job resume", id);
      });
      const resumed = existing(id);
      if (isPlanned(resumed)) conductor.look(id);
      else enqueue(journal.release(waitingOf(id)));
      return existing(id);
    },

    retry(id, by) {
      const job = existing(id);
      const failed = store.tasks.ofJob(id).filter(({ state }) => state === "failed");
      if (failed.length === 0) throw new ConflictError(`no node failed in job ${id}`);
      const { kind, parameters, rollout } = job;
      return create({
        ...({ kind, parameters } as JobParameters), // of one job
        selector: `what failed of ${job.selector}`,
        nodes: failed.map(({ nodeId }) => nodeId),
        createdBy: by,
        retryOf: id,
        ...(rollout && { rollout }),
      });
    },

    report(nodeId, report) {
      const task = ofPresentEpoch(nodeId, report);
      if (task.state === "cancelled") return { cancelled: true };
      // The answer to the last report may have been lost: saying it again is right.
      if (task.state === "done" && report.status === "done") return { cancelled: false };
      checkOpen(task, report.bootId);
      journal.together(() => {
        journal.progress(task.id, report);
        if (report.status !== "failed") return;
        const reason = report.reason ?? "the agent gave no reason";
        journal.fail(task.id, reason, report.retryable ?? false);
      });
      runner.heard(nodeId);
      runner.wake(nodeId);
      return { cancelled: false };
    },

    checkAttempt(nodeId, attempt) {
      checkOpen(ofPresentEpoch(nodeId, attempt), attempt.bootId);
      runner.heard(nodeId);
    },

    assignmentFor(node) {
      const order = assignments.of(node);
      return order && isForThisBoot(order) ? take(order) : undefined;
    },

    assignmentNameFor(node) {
      const order = assignments.of(node);
      return order && isForThisBoot(order) ? assignmentKey(order.assignment) : undefined;
    },

    onAssignment: (listener) => assignments.onPut(listener),

    async waitForAssignment(node, known, waitMs, signal) {
      const isNew = (order: Order) =>
        isForThisBoot(order) && assignmentKey(order.assignment) !== known;
      const order = await assignments.wait(node, isNew, waitMs, signal);
      return order && !signal.aborted ? await gather(() => take(order)) : undefined;
    },

    imageAllowed(ticket, digest) {
      const task = store.tasks.get(tickets.taskOf(ticket));
      if (!task || !journal.openAttempt(task)) return false;
      if (nodes.get(task.nodeId)?.quarantined !== false) return false;
      const parameters = store.jobs.get(task.jobId)?.parameters ?? {};
      const isWanted = "image" in parameters && parameters.image === digest;
      return isWanted && tickets.matches(ticket, task, digest);
    },

    async start() {
      unsubscribe.push(
        events.on("node", ({ node }) => runner.wake(node.id)),
        clock.every(timing.sweep, () => void sweep()),
        queue.onRestored(rebuildSoon),
        conductor.start(),
      );
      queue.process(({ taskId }) => runner.dispatch(taskId));
      // Not awaited: an unreachable queue must not keep the server from serving boots.
      rebuildSoon();
    },

    async close() {
      for (const end of unsubscribe.splice(0)) end();
      health.close();
      await runner.close();
      await queue.close();
    },
  };
}
