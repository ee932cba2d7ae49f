/**
 * The conductor: lets waiting tasks begin when their time, window, jobs before
 * them, batch and limits allow, and holds them again when that ends. It keeps
 * nothing in memory: each look reads the journal, so a restarted server goes on.
 */

import {
  type Instant,
  type JobId,
  milliseconds,
  type NodeId,
  unreachable,
} from "#protocol/brand.ts";
import { isFinished, type Job, type Task } from "#protocol/job.ts";
import type { Window } from "#protocol/schedule.ts";
import type { Clock } from "../clock.ts";
import { ProvisionError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Nodes } from "../node/nodes.ts";
import type { Store } from "../store/store.ts";
import { type Health, isWatched, notHealthy } from "./health.ts";
import { momentText } from "./recurrence.ts";
import { type EndedBatch, nextStep, type Place, type Step, withinLimits } from "./rollout.ts";
import type { JobPower } from "./runner.ts";
import type { TaskJournal } from "./task-journal.ts";
import { whyClosed } from "./window.ts";

/** How often all jobs that wait for something are looked at. */
const lookPeriod = milliseconds(1000);
/** Tasks released in one look: more would keep the event loop from DHCP for too long. */
const atOnce = 1000;

export interface Conductor {
  /** Looks at one job now. */
  look(id: JobId): void;
  /** Looks at all of them now, and from time to time. Returns the function that ends it. */
  start(): () => void;
}

export interface ConductorContext {
  readonly store: Store;
  readonly nodes: Nodes;
  readonly clock: Clock;
  readonly log: Log;
  readonly journal: TaskJournal;
  readonly power: Pick<JobPower, "outletOf">;
  readonly health: Pick<Health, "look">;
  /** Called with tasks that may begin. */
  readonly onTurn: (tasks: readonly Task[]) => void;
}

/** Whether anything but its nodes can hold the job's tasks. */
export function isPlanned(job: Job): boolean {
  const { notBefore, deadline, window, after, rollout, paused } = job;
  return [notBefore, deadline, window, after, rollout, paused].some((one) => one !== undefined);
}

export function createConductor(context: ConductorContext): Conductor {
  const { store, nodes, clock, log, journal, power, health, onTurn } = context;

  const look = (job: Job, windows: readonly Window[]): void => {
    const now = clock.now();
    const lost = whyLost(job, now, store);
    if (lost !== undefined && giveUp(job, lost)) return;
    if (job.paused) {
      hold(job, pausedText(job.paused));
      return;
    }
    const held = whyHeld(job, windows, now, store);
    const isHealthAsked = job.rollout?.health !== undefined && job.state === "running";
    if (held !== undefined && !isHealthAsked) {
      hold(job, held);
      return;
    }
    const step = nextStep(job, store.tasks.counts(job.id), (batch) => endOf(job, batch), now);
    // To ask nodes how they are begins nothing: no window needs to be open for it.
    if (held === undefined || step.do === "check") takeStep(job, step, now);
    else hold(job, held);
  };

  const takeStep = (job: Job, step: Step, now: Instant): void => {
    switch (step.do) {
      case "release":
        release(job, step.batch);
        break;
      case "pause":
        pause(job, step.reason, now);
        break;
      case "fail":
        for (const id of step.tasks) journal.failAfterAll(id, notHealthy(step.reason));
        break;
      case "check":
        check(job, step.batch, now);
        break;
      case "wait":
        journal.changeJob(job.id, { waitsFor: step.reason });
        break;
      case "nothing":
        journal.changeJob(job.id, { waitsFor: undefined });
        break;
      default:
        unreachable(step);
    }
  };

  const hold = (job: Job, waitsFor: string): void =>
    journal.together(() => {
      if (job.state !== "waiting") journal.recall(job.id);
      journal.changeJob(job.id, { waitsFor });
    });

  const pause = (job: Job, reason: string, at: Instant): void => {
    log.warn({ job: job.id, reason }, "job paused");
    const paused = { at, by: "server", reason };
    journal.together(() => {
      journal.recall(job.id);
      journal.changeJob(job.id, { paused, waitsFor: pausedText(paused) });
      audit("job pause", job.id, reason);
    });
  };

  const check = (job: Job, batch: number, now: Instant): void => {
    try {
      health.look(job, batch);
    } catch (error) {
      // A command that is no longer configured: trying again does not bring it back.
      if (!(error instanceof ProvisionError) || error.retryable) throw error;
      pause(job, error.message, now);
    }
  };

  /** Whether there was anything left to give up. */
  const giveUp = (job: Job, reason: string): boolean => {
    const isBegun = ({ state }: { readonly state: Task["state"] }) =>
      state === "running" || isFinished(state);
    const rest = store.tasks.ofJob(job.id).filter((task) => !isBegun(task));
    if (rest.length === 0) return false;
    log.warn({ job: job.id, reason, tasks: rest.length }, "job given up");
    journal.together(() => {
      journal.changeJob(job.id, { cancelledBy: "server", waitsFor: undefined });
      for (const task of rest) journal.cancel(task.id, reason);
      audit("job cancel", job.id, reason);
    });
    return true;
  };

  const audit = (what: string, target: JobId, detail: string): void =>
    store.audit.append({ at: clock.now(), who: "server", what, target, detail });

  const release = (job: Job, batch: number): void => {
    const waiting = store.tasks.inState(job.id, batch, "waiting");
    const { rollout } = job;
    const withPlace = <Item extends { readonly nodeId: NodeId }>(items: readonly Item[]) =>
      items.map((item) => ({ ...item, ...placeOf(item.nodeId) }));
    const mayBegin = rollout
      ? withinLimits(
          rollout,
          withPlace(waiting),
          (["queued", "running"] as const).flatMap((state) =>
            withPlace(store.tasks.inState(job.id, batch, state)),
          ),
        )
      : waiting;
    const waitsFor = mayBegin.length < waiting.length ? "others beside it to end" : undefined;
    const released = journal.together(() => {
      journal.changeJob(job.id, { waitsFor });
      return journal.release(mayBegin.slice(0, atOnce).map(({ id }) => id));
    });
    if (released.length > 0) onTurn(released);
  };

  const placeOf = (id: NodeId): Place => {
    const slot = nodes.get(id)?.slot;
    if (!slot) return {};
    const outlet = power.outletOf(slot);
    return {
      rack: slot.rack,
      stack: `${slot.rack}/${slot.stack}`,
      ...(outlet && { outlet: JSON.stringify([outlet.driver, outlet.settings]) }),
    };
  };

  const endOf = (job: Job, batch: number): EndedBatch => {
    const tasks = store.tasks.ofBatch(job.id, batch);
    const done = isWatched(job) ? tasks.filter(({ state }) => state === "done") : [];
    const silent = done
      .filter(({ nodeId }) => nodes.get(nodeId)?.connection !== "online")
      .map(({ id }) => id);
    return { at: Math.max(...tasks.map(({ endedAt = 0 }) => endedAt)) as Instant, silent };
  };

  const lookAt = (jobs: readonly Job[]): void => {
    const planned = jobs.filter((job) => isPlanned(job) && !isFinished(job.state));
    if (planned.length === 0) return;
    const windows = store.windows.list();
    for (const job of planned) {
      try {
        look(job, windows);
      } catch (error) {
        log.error({ err: error, job: job.id }, "job could not be looked at; it is tried again");
      }
    }
  };

  return {
    look(id) {
      const job = store.jobs.get(id);
      if (job) lookAt([job]);
    },
    start() {
      lookAt(store.jobs.unfinished());
      return clock.every(lookPeriod, () => lookAt(store.jobs.unfinished()));
    },
  };
}

function pausedText({ by, reason }: NonNullable<Job["paused"]>): string {
  return `paused by ${by}: ${reason}`;
}

/** Why what has not begun never will. */
function whyLost(
  { deadline, zone = "UTC", after = [] }: Job,
  now: Instant,
  store: Store,
): string | undefined {
  if (deadline !== undefined && now >= deadline) {
    return `not begun by its deadline, ${momentText(deadline, zone)}`;
  }
  const lost = after
    .map((id) => store.jobs.get(id))
    .find((job) => job?.state === "failed" || job?.state === "cancelled");
  return lost && `${lost.kind} ${lost.id}, which it waited for, is ${lost.state}`;
}

/** Why nothing more begins now. */
export function whyHeld(
  job: Job,
  windows: readonly Window[],
  now: Instant,
  store: Store,
): string | undefined {
  const { notBefore, zone = "UTC", after = [] } = job;
  if (notBefore !== undefined && now < notBefore) return `begins ${momentText(notBefore, zone)}`;
  const open = after.find((id) => store.jobs.get(id)?.state !== "done");
  if (open !== undefined) return `job ${open} to end`;
  const isBound = [notBefore, job.window, job.schedule].some((one) => one !== undefined);
  if (!isBound) return undefined; // asked for now: a blackout does not stop an emergency
  const window = windows.find(({ name }) => name === job.window);
  if (job.window !== undefined && !window) return `window ${job.window} is gone`;
  return whyClosed(window, windows, now);
}
