/**
 * The runner: carries tasks from attempt to attempt.
 *
 * One task at a time per node: the oldest unfinished one. Whatever decides what
 * happens next is read from the journal, so that a runner that was killed and
 * one that goes on do the same.
 */

import type { Assignment, ImageTicket } from "#protocol/agent.ts";
import type { ImageDigest, MacAddress } from "#protocol/brand.ts";
import { type Milliseconds, milliseconds, type NodeId, type TaskId } from "#protocol/brand.ts";
import { type Attempt, isFinished, type Task } from "#protocol/job.ts";
import { type Node, type PowerState, type SlotRef, slotText } from "#protocol/node.ts";
import type { Outlet } from "#protocol/rack.ts";
import { manifestOf } from "../../images/manifest.ts";
import type { Clock } from "../clock.ts";
import { NotFoundError, PowerRefusedError, ProvisionError } from "../errors.ts";
import type { Log } from "../log.ts";
import { guardOf } from "../node/disk-guard.ts";
import type { Nodes } from "../node/nodes.ts";
import type { Shell } from "../ssh/shell.ts";
import type { Store } from "../store/store.ts";
import type { Assignments } from "./assignments.ts";
import type { Gather } from "./gather.ts";
import {
  AttemptError,
  type Captures,
  type Images,
  type InstallImage,
  type TaskRun,
  type Timing,
} from "./kind.ts";
import { kindOf } from "./registry.ts";
import { maxAttempts, type TaskJournal } from "./task-journal.ts";
import type { Tickets } from "./tickets.ts";

/** What of power switching a job needs. `fence`: see Power. */
export interface JobPower {
  set(slot: SlotRef, state: "on" | "off", who: string, fence?: () => void): Promise<void>;
  cycle(slot: SlotRef, who: string, fence?: () => void): Promise<void>;
  cut(slot: SlotRef, restart: boolean, who: string, fence?: () => void): Promise<void>;
  slotsOn(slot: SlotRef): readonly SlotRef[];
  query(slot: SlotRef): Promise<PowerState>;
  outletOf(slot: SlotRef): Outlet | undefined;
}
export interface JobWindows {
  open(mac: MacAddress, cause: "power-on" | "reboot"): void;
}

export interface JobMetrics {
  /**
   * Something came too late and changed nothing: what an agent said for an attempt that has ended, what
   * the run of such an attempt was about to order or to switch, an entry that the queue gave out again.
   */
  superseded(what: "report" | "effect" | "entry"): void;
}

export interface RunnerContext {
  readonly store: Store;
  readonly nodes: Nodes;
  /** Counts what is waited for from this node. */
  readonly clockOf: (node: Node | undefined) => Clock;
  readonly log: Log;
  readonly power: JobPower;
  readonly windows: JobWindows;
  readonly images: Images;
  readonly captures: Captures;
  readonly journal: TaskJournal;
  readonly gather: Gather;
  readonly assignments: Assignments;
  readonly tickets: Tickets;
  readonly timing: Timing;
  readonly bootUrlFor: (node: Node) => string;
  readonly shellOf: (node: Node, signal: AbortSignal) => Promise<Shell>;
  readonly authorizedKeys: readonly string[];
  readonly metrics?: JobMetrics;
  /** Called when a node's next task may begin. */
  readonly onTurn: (task: Task) => void;
}

export interface Runner {
  /**
   * Runs the task to its end, unless it has ended, its node is busy, or it is not
   * the oldest of its node. Never rejects. Calling it twice is harmless.
   */
  dispatch(id: TaskId): Promise<void>;
  isRunning(task: Task): boolean;
  /** How many run. */
  running(): number;
  /** The agent of the node that runs a task spoke of it. */
  heard(node: NodeId): void;
  /** The node or its task changed: the run looks again. */
  wake(node: NodeId): void;
  /** Stops every run where it is; the journal keeps them unfinished. */
  close(): Promise<void>;
}

/** A waiting run looks again after this long even when nothing woke it. */
const lookAgain = milliseconds(5000);

/** The open attempt was ended by somebody else: a report, or a cancellation. */
class AttemptEnded extends Error {}

interface Running {
  readonly id: TaskId;
  readonly nodeId: NodeId;
  readonly clock: Clock;
  readonly since: Milliseconds;
  heardAt: Milliseconds;
  wake: () => void;
}

export function createRunner(context: RunnerContext): Runner {
  const { store, nodes, clockOf, log, journal, gather, assignments, timing, onTurn } = context;
  /** One at most on each node. */
  const running = new Map<NodeId, Running>();
  const ended = new Set<Promise<void>>();
  const closing = new AbortController();

  const pause = async (run: Running, duration: Milliseconds): Promise<void> => {
    closing.signal.throwIfAborted();
    const woken = new AbortController();
    run.wake = () => woken.abort("woken"); // by default an error with its stack would be made each time
    await run.clock.sleep(duration, woken.signal);
    closing.signal.throwIfAborted();
  };

  const nextOf = (node: NodeId): Task | undefined => store.tasks.unfinishedOf(node)[0];
  const isItsTurn = ({ id, nodeId }: Task): boolean => nextOf(nodeId)?.id === id;

  /** A failed attempt is followed by the next one only after a while, doubled each time. */
  const waitBeforeNext = async ({ id, epoch }: Task, run: Running): Promise<void> => {
    const { clock } = run;
    const deadline = clock.monotonic() + timing.retry * 2 ** (epoch - 1);
    while (clock.monotonic() < deadline && !isFinished(journal.task(id).state)) {
      await pause(run, (deadline - clock.monotonic()) as Milliseconds);
    }
  };

  /** The attempt to go on with, or a new one; undefined when the task has ended, or it is not its turn. */
  const attemptOf = (task: Task): Attempt | undefined => {
    if (!isItsTurn(task)) return undefined;
    const open = journal.openAttempt(task);
    if (open) return open;
    const refusal = whyRefused(task);
    if (refusal === undefined) return journal.openAttempt(journal.begin(task.id));
    journal.fail(task.id, refusal, false);
    return undefined;
  };

  const whyRefused = (task: Task): string | undefined => {
    const node = nodes.get(task.nodeId);
    const job = store.jobs.get(task.jobId);
    if (!node || !job) return `node ${task.nodeId} is gone`;
    // A later attempt may find the node down: putting that right is its work.
    if (task.epoch > 0 && !node.quarantined) return undefined;
    return kindOf(task.kind).refuse(node, job, context.images);
  };

  const oneAttempt = async (task: Task, epoch: number, run: Running): Promise<void> => {
    const job = store.jobs.get(task.jobId);
    if (!job) throw new NotFoundError(`no job ${task.jobId}`);
    log.info({ task: task.id, node: task.nodeId, kind: task.kind, epoch }, "attempt runs");
    try {
      const taskRun = createTaskRun(context, { id: task.id, epoch, who: job.createdBy }, run, {
        pause,
        signal: closing.signal,
      });
      const change = await kindOf(task.kind).run(taskRun, job);
      await gather(() => {
        if (journal.openAttempt(journal.task(task.id))?.epoch !== epoch) throw new AttemptEnded();
        journal.complete(task.id, change);
      });
      log.info({ task: task.id, node: task.nodeId, epoch }, "task done");
    } catch (error) {
      if (closing.signal.aborted || error instanceof AttemptEnded) return;
      const reason = error instanceof Error ? error.message : String(error);
      const expected = error instanceof AttemptError || error instanceof ProvisionError;
      if (!expected) log.error({ err: error, task: task.id }, "attempt broke");
      // The attempt may have ended in the meantime: then its own reason stays.
      if (journal.openAttempt(journal.task(task.id))) {
        journal.fail(task.id, reason, expected && error.retryable);
      }
    } finally {
      assignments.withdraw(task.nodeId, task.id);
    }
  };

  const runTask = async (id: TaskId, run: Running): Promise<void> => {
    while (!closing.signal.aborted && nextOf(run.nodeId)?.id === id) {
      const task = journal.task(id);
      if (task.epoch > 0 && !journal.openAttempt(task)) await waitBeforeNext(task, run);
      const attempt = await gather(() => attemptOf(journal.task(id)));
      if (attempt) await oneAttempt(task, attempt.epoch, run);
    }
  };

  const dispatch = async (id: TaskId): Promise<void> => {
    const task = store.tasks.get(id);
    if (!task || closing.signal.aborted) return;
    const present = running.get(task.nodeId);
    if (present?.id === id || isFinished(task.state)) context.metrics?.superseded("entry");
    // A run may still wait for an outlet's answer when its task is cancelled: the node's next follows it.
    if (present) return;
    const { nodeId } = task;
    const clock = clockOf(nodes.get(nodeId));
    const now = clock.monotonic();
    const run: Running = { id, nodeId, clock, since: now, heardAt: now, wake: () => undefined };
    running.set(nodeId, run);
    try {
      await runTask(id, run);
    } catch (error) {
      if (!closing.signal.aborted) log.error({ err: error, task: id }, "task stopped");
    } finally {
      running.delete(nodeId);
    }
    if (closing.signal.aborted) return;
    const next = nextOf(nodeId);
    if (next && next.id !== id) onTurn(next);
  };

  return {
    dispatch(id) {
      const work = dispatch(id).finally(() => ended.delete(work));
      ended.add(work);
      return work;
    },
    isRunning: ({ id, nodeId }) => running.get(nodeId)?.id === id,
    running: () => running.size,
    heard(id) {
      const run = running.get(id);
      if (run) run.heardAt = run.clock.monotonic();
    },
    wake: (id) => running.get(id)?.wake(),
    async close() {
      closing.abort();
      for (const run of running.values()) run.wake();
      await Promise.all(ended);
    },
  };
}

interface Pausing {
  readonly pause: (run: Running, duration: Milliseconds) => Promise<void>;
  readonly signal: AbortSignal;
}

function createTaskRun(
  context: RunnerContext,
  attempt: { readonly id: TaskId; readonly epoch: number; readonly who: string },
  run: Running,
  { pause, signal }: Pausing,
): TaskRun {
  const { nodes, journal, assignments, tickets, timing, power, windows } = context;
  const { clock } = run;
  const { id, epoch, who } = attempt;

  const currentNode = (): Node => {
    const node = nodes.get(run.nodeId);
    if (!node) throw new AttemptError(`node ${run.nodeId} is gone`, false);
    return node;
  };
  const isOpen = (): boolean => {
    signal.throwIfAborted();
    const task = journal.task(id);
    return task.epoch === epoch && journal.openAttempt(task) !== undefined;
  };
  const checkOpen = (): void => {
    if (!isOpen()) throw new AttemptEnded();
  };
  /** Comes before whatever is felt outside of the server. */
  const fence = (): void => {
    if (isOpen()) return;
    context.metrics?.superseded("effect");
    throw new AttemptEnded();
  };
  const order = (assignment: Assignment, bootId: string): void => {
    fence();
    journal.setBootId(id, bootId);
    assignments.put({ assignment, bootId });
  };
  const existingImage = (digest: ImageDigest): InstallImage => {
    const image = context.images.get(digest);
    if (!image) throw new AttemptError(`image ${digest} is no longer in the library`, false);
    return image;
  };
  const ticketFor = (digest: ImageDigest): ImageTicket => {
    const image = existingImage(digest);
    const url = `${context.bootUrlFor(currentNode())}/images/${digest}`;
    return {
      image: { ...manifestOf(image), signature: image.signature, url },
      ticket: tickets.ticketFor(journal.task(id), digest),
    };
  };
  const base = () => ({ nodeId: run.nodeId, taskId: id, epoch });
  const queryPower = async (): Promise<PowerState> => {
    const { slot } = currentNode();
    if (!slot || !power.outletOf(slot)) return "unknown";
    try {
      return await power.query(slot);
    } catch (error) {
      context.log.warn({ err: error, task: id }, "outlet did not tell its state");
      return "unknown";
    }
  };
  /** A server that was killed between off and on of a cycle left the outlet off. */
  const endCycle = async (slot: SlotRef): Promise<void> => {
    if ((await queryPower()) === "on") return;
    fence();
    try {
      await power.set(slot, "on", who);
    } catch (error) {
      if (!(error instanceof ProvisionError)) throw error;
      journal.say(id, [`its power was not given: ${error.message}`]);
    }
  };

  return {
    get task() {
      return journal.task(id);
    },
    get node() {
      return currentNode();
    },
    timing,
    authorizedKeys: context.authorizedKeys,
    signal,
    setStage(stage) {
      checkOpen();
      journal.setStage(id, stage);
    },
    say: (line) => journal.say(id, [line]),
    orderInstall(job, bootId) {
      const { image, authorizedKeys, wipe = "any" } = job.parameters;
      const disk = journal.task(id).diskSerial ?? job.parameters.disk;
      const node = currentNode();
      order(
        {
          ...base(),
          action: "install",
          ...ticketFor(image),
          hostname: node.name,
          authorizedKeys: [...authorizedKeys, ...context.authorizedKeys],
          guard: guardOf(context.store, node, wipe),
          ...(disk !== undefined && { disk }),
        },
        bootId,
      );
    },
    ticketFor,
    fileOf(digest) {
      existingImage(digest);
      return context.images.pathOf(digest);
    },
    order: (work, bootId) => order({ ...base(), ...work }, bootId),
    orderRestart(bootId) {
      fence();
      journal.setPowerOrdered(id);
      order({ ...base(), action: "reboot", warnSeconds: 0 }, bootId);
    },
    isRestartOrdered: () => journal.openAttempt(journal.task(id))?.powerOrderedAt !== undefined,
    isLastAttempt: () => epoch >= maxAttempts,
    async takeCapture(described) {
      const { nodeId, jobId } = journal.task(id);
      const { name, image: installed } = currentNode();
      const from = installed && context.images.get(installed);
      const more = described.format === from?.format ? layoutOf(from) : {};
      const image = await context.captures.takeIn(
        { taskId: id, epoch },
        { ...described, ...more, origin: { nodeId, name, jobId } },
        fence,
      );
      if (image) return image;
      throw new AttemptError("what the agent sent is not here any more", true);
    },
    guard: (wipe) => guardOf(context.store, currentNode(), wipe),
    shell(over) {
      fence();
      return context.shellOf(currentNode(), over);
    },
    withdraw: () => assignments.withdraw(run.nodeId, id),
    openWindow: (cause) => windows.open(currentNode().mac, cause),
    hasOutlet() {
      const { slot } = currentNode();
      return slot !== undefined && power.outletOf(slot) !== undefined;
    },
    async switchPowerOnce() {
      fence();
      const { slot, agent } = currentNode();
      if (!slot) return false;
      if (journal.openAttempt(journal.task(id))?.powerOrderedAt !== undefined) {
        await endCycle(slot);
        return false;
      }
      if (agent) journal.setBootId(id, agent.bootId);
      journal.setPowerOrdered(id);
      try {
        const state = await power.query(slot);
        fence(); // it may have been cancelled while the outlet was asked
        if (state === "off") await power.set(slot, "on", who, fence);
        else await power.cycle(slot, who, fence);
        return true;
      } catch (error) {
        // The outlet feeds neighbours too, or cannot be switched: a human can still do it.
        if (!(error instanceof PowerRefusedError)) throw error;
        journal.say(id, [`its power was not switched: ${error.message}`]);
        return false;
      }
    },
    async givePower() {
      fence();
      const { slot } = currentNode();
      if (slot) await power.set(slot, "on", who);
    },
    async cutPower(restart) {
      fence();
      const { slot } = currentNode();
      if (!slot) return true;
      const { jobId } = journal.task(id);
      const wasOrdered = (task: Task) => journal.openAttempt(task)?.powerOrderedAt !== undefined;
      if (restart && wasOrdered(journal.task(id))) {
        await power.set(slot, "on", who); // it was off: this server was started anew meanwhile
        return true;
      }
      const fed = power.slotsOn(slot).map(slotText);
      const others = nodes
        .list()
        .filter((one) => one.id !== run.nodeId && one.slot && fed.includes(slotText(one.slot)));
      // Those of this job that have not come so far: the last of them switches for all.
      const isToCome = (one: Node) =>
        context.store.tasks
          .unfinishedOf(one.id)
          .some((task) => task.jobId === jobId && !wasOrdered(task));
      const up = others.find((one) => one.connection === "online" && !isToCome(one));
      if (up) {
        journal.say(id, [`its outlet feeds ${up.name} too, which is still up`]);
        return false;
      }
      nodes.update(run.nodeId, { connection: "offline" });
      const next = others.find(isToCome);
      if (next) {
        journal.setPowerOrdered(id);
        journal.say(id, [`its outlet feeds ${next.name} too, and is switched with that`]);
        return true;
      }
      await power.cut(slot, false, who, fence);
      if (!restart) return true;
      // Off is repeatable, off and on again is not: a server that is killed now only gives power.
      journal.setPowerOrdered(id);
      await power.set(slot, "on", who); // also of a task that was cancelled: no node stays dark
      return true;
    },
    queryPower,
    silence() {
      const now = clock.monotonic();
      const heard = Math.max(run.since, run.heardAt);
      return Math.min(now - heard, nodes.silence(run.nodeId)) as Milliseconds;
    },
    async until(answer, limit) {
      const deadline = clock.monotonic() + limit;
      for (;;) {
        checkOpen();
        const value = answer();
        if (value !== undefined) return value;
        const left = deadline - clock.monotonic();
        if (left <= 0) return undefined;
        await pause(run, Math.min(left, lookAgain) as Milliseconds);
      }
    },
  };
}

/** What of an image says how a disk is laid out, and what of a system outlives an update. */
function layoutOf({ slots, keep }: InstallImage): Pick<InstallImage, "slots" | "keep"> {
  return { ...(slots && { slots }), ...(keep && { keep }) };
}
