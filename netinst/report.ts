/**
 * Progress of one attempt, told to the server at most once per second.
 *
 * Progress replaces progress that was not sent yet; the end (`done`, `failed`) is repeated until
 * the server has it. The work never waits for a report, except for the last one.
 */

import type { Assignment, Report, ReportAnswer } from "#protocol/agent.ts";
import type { Stage } from "#protocol/job.ts";
import type { Connection } from "./connection.ts";
import { type Console, mostKeptLines } from "./console.ts";
import { AttemptEndedError, CancelledError, ProblemError, reasonOf } from "./errors.ts";
import { backOff, sleep } from "./wait.ts";

/** What the last report brings besides how it ended. */
export type LastWord = Pick<Report, "sshHostKeys" | "disk" | "hardware" | "burnIn">;

export interface Reporter {
  /** Aborts with an {@link AttemptEndedError} when the job was cancelled or a newer attempt runs. */
  readonly ended: AbortSignal;
  progress(stage: Stage, percent: number, bytesPerSecond?: number): void;
  /** Resolves when the server has taken it, or {@link ended} says that it does not want it. */
  done(stage: Stage, last?: LastWord): Promise<void>;
  /** Resolves when the server has taken it or does not want it any more. */
  failed(reason: string, retryable: boolean, last?: LastWord): Promise<void>;
  /** Stops sending; what was not sent is dropped. */
  close(): void;
}

export interface ReportContext {
  readonly assignment: Assignment;
  readonly bootId: string;
  /** The connection of the moment: it is replaced when the server moves. */
  readonly connection: () => Connection;
  readonly console: Console;
  readonly intervalMs?: number;
}

const firstStages: Partial<Record<Assignment["action"], Stage>> = {
  install: "preparing",
  update: "preparing",
  confirm: "confirming",
  capture: "preparing",
  "burn-in": "testing",
};

export function startReporter(context: ReportContext, signal: AbortSignal): Reporter {
  const { assignment, console } = context;
  const intervalMs = context.intervalMs ?? 1000;
  const attempt = new AbortController();
  const closed = new AbortController();
  const stop = AbortSignal.any([signal, closed.signal]);
  let pending: Report | undefined;
  let stage: Stage = firstStages[assignment.action] ?? "requested";
  let lastPercent = 0;
  let pumping = false;
  /** The request under way: the last report may not overtake it. */
  let inFlight: Promise<unknown> = Promise.resolve();
  let finished = false;
  /** Lines of a report that was not answered: what explains a failure is often said then. */
  let untold: readonly string[] = [];

  const base = () => ({
    taskId: assignment.taskId,
    epoch: assignment.epoch,
    bootId: context.bootId,
    stage,
    percent: lastPercent,
  });
  const send = async (report: Report): Promise<void> => {
    const log = [...untold, ...console.take()].slice(-mostKeptLines);
    const body: Report = log.length === 0 ? report : { ...report, log };
    untold = log;
    const answer = (await context.connection().post("/agent/v1/report", body, stop)) as
      | ReportAnswer
      | undefined;
    untold = [];
    if (answer?.cancelled === true) attempt.abort(new CancelledError("the job was cancelled"));
  };
  const end = (reason: string) => attempt.abort(new AttemptEndedError(reason));
  /** Whether sending again is of use. */
  const sendOnce = async (report: Report): Promise<boolean> => {
    try {
      await send(report);
      return false;
    } catch (error) {
      if (error instanceof ProblemError && !error.retryable) {
        end(error.status === 409 ? "a newer attempt runs" : reasonOf(error));
        return false;
      }
      return true;
    }
  };
  const pump = async () => {
    for (let failures = 0; pending !== undefined && !stop.aborted; ) {
      const report = pending;
      pending = undefined;
      const answer = sendOnce(report);
      inFlight = answer;
      const again = await answer;
      if (again && !finished) pending ??= report;
      failures = again ? failures + 1 : 0;
      await sleep(again ? backOff(failures, intervalMs, 15_000) : intervalMs, stop);
    }
    pumping = false;
  };
  const sendUntilTaken = async (report: Report) => {
    finished = true;
    pending = undefined;
    await inFlight;
    for (let failures = 0; !stop.aborted; failures++) {
      if (!(await sendOnce(report))) return;
      await sleep(backOff(failures, intervalMs, 15_000), stop);
    }
  };

  return {
    ended: attempt.signal,
    progress: (now, percent, bytesPerSecond) => {
      if (now !== stage) console.info(`${assignment.action}: ${now}`);
      stage = now;
      lastPercent = Math.max(0, Math.min(100, Math.floor(percent)));
      pending = {
        ...base(),
        status: "running",
        ...(bytesPerSecond === undefined ? {} : { bytesPerSecond: Math.round(bytesPerSecond) }),
      };
      if (pumping || finished) return;
      pumping = true;
      void pump();
    },
    done: async (lastStage, last) => {
      stage = lastStage;
      lastPercent = 100;
      await sendUntilTaken({ ...base(), status: "done", ...last });
    },
    failed: async (reason, retryable, last) => {
      await sendUntilTaken({ ...base(), status: "failed", reason, retryable, ...last });
    },
    close: () => closed.abort(),
  };
}
