/**
 * Jobs: what the admin asks for, what agents report, what agents are ordered.
 *
 * A job is in the journal before {@link Jobs.create} returns. The queue behind
 * it only says when a task may run; it holds nothing that the journal does not,
 * and is filled again from it at start and whenever it was lost.
 */

import { randomUUID } from "node:crypto";
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
import {
  AttemptSupersededError,
  ConflictError,
  ForbiddenError,
  InvalidInputError,
  NotFoundError,
} from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { Log } from "../log.ts";
import type { Nodes } from "../node/nodes.ts";
import type { Store } from "../store/store.ts";
import { assignmentKey, createAssignments, type Order } from "./assignments.ts";
import type { Images, Timing } from "./kind.ts";
import type { Queue } from "./queue.ts";
import { isJobKind, kindOf } from "./registry.ts";
import { createRunner, type JobPower, type JobWindows } from "./runner.ts";
import { createTaskJournal } from "./task-journal.ts";
import { createTickets } from "./tickets.ts";

export type JobRequest = JobParameters & {
  /** As it was given, for people. */
  readonly selector: string;
  /** What it meant when the job was made. */
  readonly nodes: readonly NodeId[];
  /** User name. */
  readonly createdBy: string;
};

export interface Jobs {
  /**
   * Durable before it returns, then queued. A node that cannot take the job
   * gets a failed task with the reason; the others go on.
   *
   * @throws InvalidInputError, NotFoundError
   */
  create(request: JobRequest): Job;
  /** Cancels what has not ended. Again: nothing happens. @throws NotFoundError, ConflictError when it ended otherwise. */
  cancel(id: JobId, by: string): Job;
  /**
   * Durable before it returns.
   *
   * @throws NotFoundError, ForbiddenError (another node's task), AttemptSupersededError
   */
  report(node: NodeId, report: Report): ReportAnswer;
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
  /** Whether the ticket is the present one of a running install of this image. */
  imageAllowed(ticket: string, digest: ImageDigest): boolean;
  /** Goes on with everything unfinished. */
  start(): Promise<void>;
  /** Stops all work where it is, and closes the queue; a later start goes on with it. */
  close(): Promise<void>;
}

export interface JobsContext {
  readonly store: Store;
  readonly nodes: Nodes;
  readonly events: EventBus;
  readonly clock: Clock;
  readonly log: Log;
  readonly queue: Queue;
  readonly power: JobPower;
  readonly windows: JobWindows;
  readonly images: Images;
  /** `http://10.77.0.1:8080`, as the node reaches it. */
  readonly bootUrlFor: (node: Node) => string;
  /** Default: {@link usualTiming}. */
  readonly timing?: Partial<Timing>;
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
};

/** A task whose turn was not told to the queue (it was down) is found again within this. */
const sweepPeriod = milliseconds(30_000);

export function createJobs(context: JobsContext): Jobs {
  const { store, nodes, events, clock, log, queue, images } = context;
  const journal = createTaskJournal(context);
  const assignments = createAssignments(clock);
  const tickets = createTickets(store);

  const enqueue = (task: Task): void => {
    queue.add({ taskId: task.id, epoch: task.epoch }).catch((error: unknown) => {
      log.warn({ err: error, task: task.id }, "queue took no entry; the journal has it");
    });
  };

  const runner = createRunner({
    ...context,
    journal,
    assignments,
    tickets,
    timing: { ...usualTiming, ...context.timing },
    onTurn: enqueue,
  });

  /** Unfinished tasks whose turn it is and that do not run here. */
  const waitingForTurn = (): readonly Task[] => {
    const busy = new Set<NodeId>();
    return store.tasks.unfinished().filter((task) => {
      const first = !busy.has(task.nodeId);
      busy.add(task.nodeId);
      return first && !runner.isRunning(task.id);
    });
  };

  const rebuild = async (): Promise<void> => {
    await queue.rebuild(() =>
      waitingForTurn().map((task) => ({ taskId: task.id, epoch: task.epoch })),
    );
    log.info("queue rebuilt from the journal");
  };
  const rebuildSoon = (): void => {
    rebuild().catch((error: unknown) => log.warn({ err: error }, "queue could not be rebuilt"));
  };

  const reportable = (nodeId: NodeId, report: Report): Task => {
    const task = store.tasks.get(report.taskId);
    if (!task) throw new NotFoundError(`no task ${report.taskId}`);
    if (task.nodeId !== nodeId) throw new ForbiddenError(`task ${task.id} is another node's`);
    if (report.epoch !== task.epoch || task.epoch === 0) {
      throw new AttemptSupersededError(
        `task ${task.id} is at attempt ${task.epoch}, the report is of attempt ${report.epoch}`,
      );
    }
    return task;
  };

  /** Handing out an order is the moment it may take effect. */
  const take = ({ assignment }: Order): Assignment => {
    const { stageWhenFetched } = kindOf(journal.task(assignment.taskId).kind);
    if (stageWhenFetched !== undefined) journal.setStage(assignment.taskId, stageWhenFetched);
    return assignment;
  };
  const isForThisBoot = (order: Order): boolean =>
    nodes.get(order.assignment.nodeId)?.agent?.bootId === order.bootId;

  const unsubscribe: (() => void)[] = [];

  return {
    create(request) {
      const { job, nodeIds } = newJob(request, context);
      const tasks = nodeIds.map((nodeId) => newTask(job, nodeId));
      journal.create(job, tasks);
      log.info({ job: job.id, kind: job.kind, nodes: tasks.length }, "job created");
      for (const task of tasks) enqueue(task);
      return job;
    },

    cancel(id, by) {
      const job = store.jobs.get(id);
      if (!job) throw new NotFoundError(`no job ${id}`);
      if (job.state === "cancelled") return job;
      if (isFinished(job.state)) throw new ConflictError(`job ${id} has ended: ${job.state}`);
      const open = store.tasks.ofJob(id).filter((task) => !isFinished(task.state));
      journal.together(() => {
        for (const task of open) journal.cancel(task.id, `cancelled by ${by}`);
        store.audit.append({ at: clock.now(), who: by, what: "job cancel", target: id });
      });
      for (const task of open) {
        assignments.withdraw(task.nodeId, task.id);
        runner.wake(task.id);
        // A queued task has no run that would pass the turn on.
        const next = store.tasks.unfinishedOf(task.nodeId)[0];
        if (next && !runner.isRunning(task.id)) enqueue(next);
      }
      return store.jobs.get(id) ?? job;
    },

    report(nodeId, report) {
      const task = reportable(nodeId, report);
      if (task.state === "cancelled") return { cancelled: true };
      // The answer to the last report may have been lost: saying it again is right.
      if (task.state === "done" && report.status === "done") return { cancelled: false };
      if (!journal.openAttempt(task)) {
        throw new AttemptSupersededError(`attempt ${task.epoch} of task ${task.id} has ended`);
      }
      if (task.bootIdBefore !== undefined && report.bootId !== task.bootIdBefore) {
        throw new AttemptSupersededError(
          `attempt ${task.epoch} of task ${task.id} belongs to an earlier boot of the node`,
        );
      }
      journal.together(() => {
        journal.progress(task.id, report);
        if (report.status !== "failed") return;
        const reason = report.reason ?? "the agent gave no reason";
        journal.fail(task.id, reason, report.retryable ?? false);
      });
      runner.heard(task.id);
      runner.wake(task.id);
      return { cancelled: false };
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
      return order && !signal.aborted ? take(order) : undefined;
    },

    imageAllowed: (ticket, digest) =>
      store.tasks.unfinished().some((task) => {
        if (task.kind !== "install" || !journal.openAttempt(task)) return false;
        const job = store.jobs.get(task.jobId);
        const wanted = job?.kind === "install" && job.parameters.image === digest;
        return wanted && tickets.matches(ticket, task, digest);
      }),

    async start() {
      unsubscribe.push(
        events.on("node", ({ node }) => runner.wakeNode(node.id)),
        clock.every(sweepPeriod, () => {
          if (queue.isConnected()) waitingForTurn().forEach(enqueue);
        }),
        queue.onRestored(rebuildSoon),
      );
      queue.process(({ taskId }) => runner.dispatch(taskId));
      // Not awaited: an unreachable queue must not keep the server from serving boots.
      rebuildSoon();
    },

    async close() {
      for (const end of unsubscribe.splice(0)) end();
      await runner.close();
      await queue.close();
    },
  };

  function newJob(request: JobRequest, { nodes: known }: JobsContext) {
    const { kind, selector, createdBy } = request;
    if (!isJobKind(kind)) throw new InvalidInputError(`no job kind ${JSON.stringify(kind)}`);
    const parameters = kindOf(kind).parse(request.parameters);
    if ("image" in parameters && !images.get(parameters.image)) {
      throw new NotFoundError(`no image ${parameters.image}`);
    }
    const nodeIds = [...new Set(request.nodes)];
    if (nodeIds.length === 0) throw new InvalidInputError(`${selector} names no node`);
    const missing = nodeIds.find((id) => !known.get(id));
    if (missing !== undefined) throw new NotFoundError(`no node ${missing}`);
    const job = {
      kind,
      parameters,
      id: `job_${randomUUID()}` as JobId,
      state: "queued",
      selector,
      createdBy,
      createdAt: clock.now(),
    } as Job;
    return { job, nodeIds };
  }

  function keptOf(job: Job, nodeId: NodeId): Partial<Task> {
    const node = nodes.get(nodeId);
    const kind = kindOf(job.kind);
    return (node && kind.keepsOf?.(node, job.parameters)) ?? {};
  }

  function newTask(job: Job, nodeId: NodeId): Task {
    return {
      id: `task_${randomUUID()}` as TaskId,
      jobId: job.id,
      nodeId,
      kind: job.kind,
      state: "queued",
      epoch: 0,
      percent: 0,
      stageSeconds: {},
      createdAt: job.createdAt,
      ...keptOf(job, nodeId),
    };
  }
}
