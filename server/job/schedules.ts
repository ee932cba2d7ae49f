/**
 * Schedules: jobs that are made when their time has come. When a schedule is due
 * next is a row in the journal, moved on in the same transaction as its job is
 * made: each time makes one job at most, whenever the server is killed.
 */

import { type Instant, instant, milliseconds } from "#protocol/brand.ts";
import type { Job } from "#protocol/job.ts";
import type { Schedule } from "#protocol/schedule.ts";
import type { Clock } from "../clock.ts";
import { ConflictError, NotFoundError, ProvisionError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { Log } from "../log.ts";
import type { Nodes } from "../node/nodes.ts";
import type { Store } from "../store/store.ts";
import { checkHealth } from "./health.ts";
import type { Jobs } from "./jobs.ts";
import { checkWindow } from "./new-job.ts";
import { check } from "./parameters.ts";
import { lastUntil, momentText, nextAfter, parseRecurrence, parseZone } from "./recurrence.ts";
import { checkAsked, meaningOf, type RequestContext } from "./request.ts";
import { rolloutSchema } from "./rollout.ts";

export type ScheduleRequest = Omit<
  Schedule,
  "createdBy" | "createdAt" | "due" | "last" | "isPaused"
>;

export interface Schedules {
  /** What it would be; nothing is stored. @throws InvalidInputError naming the wrong member */
  plan(request: ScheduleRequest, by: string): Schedule;
  /** Creates or replaces it. @throws InvalidInputError */
  put(request: ScheduleRequest, by: string): Schedule;
  /** @throws NotFoundError */
  remove(name: string): void;
  /** A paused one makes no jobs; what it misses meanwhile is not made up for. @throws NotFoundError */
  setPaused(name: string, isPaused: boolean): Schedule;
  /** Makes its job now, beside those it makes by itself. @throws NotFoundError, InvalidInputError, ConflictError */
  run(name: string, by: string): Job;
  start(): void;
  close(): void;
}

export interface SchedulesContext {
  readonly store: Store;
  readonly nodes: Pick<Nodes, "get" | "list">;
  readonly images: RequestContext["images"];
  readonly commands: RequestContext["commands"];
  readonly jobs: Pick<Jobs, "create">;
  readonly events: EventBus;
  readonly clock: Clock;
  readonly log: Log;
}

/** How often the journal is asked what is due. */
const lookPeriod = milliseconds(1000);
const atOnce = 100;
/** What is due is still made this long after its time: a restart takes some seconds. */
const punctual = milliseconds(5 * 60_000);
/** This program is younger: a clock before that was never set. */
const oldestTime = Date.UTC(2026, 0, 1);
/** A clock set back by less does not matter. */
const smallStep = milliseconds(60_000);
const dayMs = 24 * 3_600_000;
/** When a schedule was moved on last: the clock must not be before that. */
const movedName = "schedules-moved-at";

export function createSchedules(context: SchedulesContext): Schedules {
  const { store, jobs, events, clock, log } = context;
  let stop: (() => void) | undefined;
  let clockIsWrong = false;

  const existing = (name: string): Schedule => {
    const schedule = store.schedules.get(name);
    if (!schedule) throw new NotFoundError(`no schedule ${JSON.stringify(name)}`);
    return schedule;
  };

  const make = (
    schedule: Schedule,
    createdBy: string,
    alongside: (job: Job) => void = () => undefined,
  ): Job => {
    const { name, kind, selector, parameters, window, rollout, withinMinutes } = schedule;
    const meant = meaningOf({ kind, selector, parameters }, context);
    const deadline =
      withinMinutes === undefined ? undefined : instant(clock.now() + withinMinutes * 60_000);
    const request = {
      ...meant,
      nodes: meant.nodes.map(({ id }) => id),
      selector,
      createdBy,
      schedule: name,
      ...(window !== undefined && { window }),
      ...(rollout && { rollout }),
      ...(deadline !== undefined && { deadline }),
    };
    return jobs.create(request, alongside);
  };

  /** The schedule after `due` has been dealt with. */
  const moveOn = (schedule: Schedule, last: NonNullable<Schedule["last"]>): void => {
    const now = clock.now();
    store.schedules.put({ ...withDue(schedule, now), last });
    store.settings.put(movedName, `${now}`);
  };

  const skip = (schedule: Schedule, due: Instant, reason: string): void => {
    log.warn({ schedule: schedule.name, due, reason }, "schedule made no job");
    store.transaction(() => {
      moveOn(schedule, { due, reason });
      store.audit.append({
        at: clock.now(),
        who: "server",
        what: "schedule skip",
        target: schedule.name,
        detail: reason,
      });
    });
  };

  const whySkipped = (schedule: Schedule, due: Instant): string | undefined => {
    if (schedule.missed === "skip" && clock.now() - due > punctual) {
      return `missed at ${momentText(due, schedule.zone)}: the server was not running`;
    }
    const before = schedule.last?.jobId && store.jobs.get(schedule.last.jobId);
    const isOpen = before && before.endedAt === undefined;
    return schedule.overlap === "skip" && isOpen
      ? `job ${before.id} of the last time has not ended`
      : undefined;
  };

  const dealWith = (schedule: Schedule, first: Instant): void => {
    // Of all that was missed the last one counts.
    const due = lastUntil(parseRecurrence(schedule.at), schedule.zone, clock.now()) ?? first;
    const reason = whySkipped(schedule, due);
    if (reason !== undefined) {
      skip(schedule, due, reason);
      return;
    }
    try {
      const job = make(schedule, schedule.createdBy, ({ id }) =>
        moveOn(schedule, { due, jobId: id }),
      );
      log.info({ schedule: schedule.name, job: job.id }, "schedule made its job");
    } catch (error) {
      // A full disk is tried again; a selector without nodes is not.
      if (!(error instanceof ProvisionError) || error.retryable) throw error;
      skip(schedule, due, error.message);
      events.publish({ topic: "alarm", text: `schedule ${schedule.name}: ${error.message}` });
    }
  };

  const look = (): void => {
    if (!clockIsRight()) return;
    for (const schedule of store.schedules.due(clock.now(), atOnce)) {
      try {
        if (schedule.due !== undefined) dealWith(schedule, schedule.due);
      } catch (error) {
        log.error({ err: error, schedule: schedule.name }, "schedule failed; it is tried again");
      }
    }
  };

  /** A clock that was never set makes nothing; one that was set back from a wrong time plans anew. */
  const clockIsRight = (): boolean => {
    const now = clock.now();
    const isUnset = now < oldestTime;
    if (isUnset && !clockIsWrong)
      log.error({ now }, "schedules wait: this machine's clock is not set");
    clockIsWrong = isUnset;
    if (isUnset) return false;
    const moved = Number(store.settings.get(movedName) ?? 0);
    if (now + smallStep < moved) {
      log.warn({ now }, "the clock was set back: schedules are planned anew");
      planAnew(store, now);
    }
    return true;
  };

  const plan: Schedules["plan"] = (request, by) => {
    const { rollout, window } = request;
    parseRecurrence(request.at);
    checkAsked(request, context);
    if (window !== undefined) checkWindow(window, store);
    if (rollout?.health) checkHealth(rollout.health, request.kind, context.commands);
    const before = store.schedules.get(request.name);
    const schedule: Schedule = {
      ...request,
      zone: parseZone(request.zone),
      ...(rollout && { rollout: check(rolloutSchema, rollout, "rollout") }),
      isPaused: before?.isPaused ?? false,
      createdBy: by,
      createdAt: before?.createdAt ?? clock.now(),
      ...(before?.last && { last: before.last }),
    };
    return withDue(schedule, clock.now());
  };

  return {
    plan,
    put(request, by) {
      const schedule = plan(request, by);
      store.schedules.put(schedule);
      return schedule;
    },
    remove(name) {
      existing(name);
      store.schedules.delete(name);
    },
    setPaused(name, isPaused) {
      const schedule = withDue({ ...existing(name), isPaused }, clock.now());
      store.schedules.put(schedule);
      return schedule;
    },
    run: (name, by) => make(existing(name), by),
    start() {
      if (stop) throw new ConflictError("schedules run already");
      look();
      stop = clock.every(lookPeriod, look);
    },
    close: () => stop?.(),
  };
}

/** Every schedule is due next after `now`: of what should have been before, nothing is made up for. */
export function planAnew(store: Store, now: Instant): void {
  store.transaction(() => {
    for (let page = store.schedules.list({ limit: 1000 }); page.length > 0; ) {
      for (const schedule of page) store.schedules.put(withDue(schedule, now));
      const after = page.at(-1)?.name ?? "";
      page = store.schedules.list({ limit: 1000, after });
    }
    store.settings.put(movedName, `${now}`);
  });
}

/** Due next after `now`, and not again at a time it was dealt with before the clock was set back a little. */
function withDue(schedule: Schedule, now: Instant): Schedule {
  const { due: _, ...rest } = schedule;
  const last = schedule.last?.due ?? now;
  const after = last > now && last - now < dayMs ? last : now;
  const due = nextAfter(parseRecurrence(schedule.at), schedule.zone, after);
  return { ...rest, ...(due !== undefined && { due }) };
}
