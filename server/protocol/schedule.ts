/** When jobs may begin (windows), and when they are made (schedules). */

import type { Instant, JobId } from "./brand.ts";
import type { JobKindName, Rollout } from "./job.ts";

/**
 * When something happens, on the wall clock of one zone: five cron fields
 * (`0 2 * * sat`), days and a time (`sat,sun 02:00`, `mon-fri 22:30`, `daily 02:00`),
 * or once (`2026-12-24 18:00`).
 */
export type Recurrence = string;

export interface Window {
  readonly name: string;
  /** `allows`: jobs that name it begin only inside. `forbids`: nothing that was planned begins inside. */
  readonly effect: "allows" | "forbids";
  readonly opens: Recurrence;
  readonly minutes: number;
  /** IANA name: `Europe/Madrid`. */
  readonly zone: string;
}

export interface Schedule {
  readonly name: string;
  readonly at: Recurrence;
  readonly zone: string;
  /** What is made: the selector and an image's name mean what they mean at that moment. */
  readonly kind: JobKindName;
  readonly selector: string;
  readonly parameters: Readonly<Record<string, unknown>>;
  /** Name of the window in which its jobs begin; default: at once. */
  readonly window?: string;
  readonly rollout?: Rollout;
  /** Minutes after which what has not begun is given up. */
  readonly withinMinutes?: number;
  /** The server was off when it was due: `skip` it, or make one job for all that was missed. */
  readonly missed: "skip" | "run-once";
  /** Its last job has not ended: `skip` this one, or let it wait behind on each node. */
  readonly overlap: "skip" | "queue";
  readonly isPaused: boolean;
  readonly createdBy: string;
  readonly createdAt: Instant;
  /** Absent when it never comes again. */
  readonly due?: Instant;
  /** What came of it when it was due last. */
  readonly last?: { readonly due: Instant; readonly jobId?: JobId; readonly reason?: string };
}

/** With the next times it opens, as the API tells it. */
export interface WindowView extends Window {
  /** Absent while it is closed. */
  readonly openUntil?: Instant;
  readonly next: readonly Instant[];
}

/** With the next times its jobs are made, as the API tells it. */
export interface ScheduleView extends Schedule {
  readonly next: readonly Instant[];
}

/** Something that is planned, and when. */
export interface CalendarEntry {
  readonly kind: "window" | "blackout" | "schedule" | "job";
  /** Of the window or schedule; a job's id. */
  readonly name: string;
  /** On whose clock it was planned. */
  readonly zone: string;
  readonly at: Instant;
  /** When a window closes. */
  readonly until?: Instant;
  /** What a schedule or job does: `reboot of rack:lab`. */
  readonly text?: string;
}

export interface Calendar {
  /** Oldest first. */
  readonly entries: readonly CalendarEntry[];
  /** False where something comes so often that it was cut short. */
  readonly isWhole: boolean;
}
