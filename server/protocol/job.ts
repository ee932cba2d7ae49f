/** Jobs: an admin's request; its task on each node; and each attempt at a task, numbered by an epoch. */

import type { ImageDigest, Instant, JobId, NodeId, TaskId } from "./brand.ts";

export const jobKinds = ["install", "reboot", "shutdown", "identify"] as const;
export type JobKindName = (typeof jobKinds)[number];

export const taskStates = ["queued", "running", "done", "failed", "cancelled"] as const;
export type TaskState = (typeof taskStates)[number];
/** A job is done when all its tasks are done, failed when one failed, cancelled when one was cancelled. */
export type JobState = TaskState;

export const installStages = [
  "waiting-for-agent",
  "preparing",
  "writing",
  "verifying",
  "configuring",
  "committing",
  "rebooting",
  "first-boot",
] as const;
export const stages = [...installStages, "requested", "powering-off", "showing", "shown"] as const;
export type Stage = (typeof stages)[number];

export interface InstallParameters {
  readonly image: ImageDigest;
  /** Disk to write, by kernel name or serial; default: the only fixed disk, else refused. */
  readonly disk?: string;
  /** Lines for root's authorized_keys. */
  readonly authorizedKeys: readonly string[];
}
export interface RebootParameters {
  /** Warning to logged-in users before it happens, 0-3600. */
  readonly warnSeconds: number;
}
export type ShutdownParameters = RebootParameters;
export interface IdentifyParameters {
  /** How long the node shows which one it is, 1-600. */
  readonly seconds: number;
}

export type JobParameters =
  | { readonly kind: "install"; readonly parameters: InstallParameters }
  | { readonly kind: "reboot"; readonly parameters: RebootParameters }
  | { readonly kind: "shutdown"; readonly parameters: ShutdownParameters }
  | { readonly kind: "identify"; readonly parameters: IdentifyParameters };

export type Job = JobParameters & {
  readonly id: JobId;
  readonly state: JobState;
  /** The selector as it was given, for people; the nodes were frozen when the job was made. */
  readonly selector: string;
  readonly createdBy: string;
  readonly createdAt: Instant;
  readonly endedAt?: Instant;
};

export interface Task {
  readonly id: TaskId;
  readonly jobId: JobId;
  readonly nodeId: NodeId;
  readonly kind: JobKindName;
  readonly state: TaskState;
  /** Number of the current attempt, from 1; 0 before the first. Older epochs are refused. */
  readonly epoch: number;
  readonly stage?: Stage;
  /** 0-100 within the stage. */
  readonly percent: number;
  readonly bytesPerSecond?: number;
  /** Plain words, set when failed or cancelled. */
  readonly reason?: string;
  /** Boot id seen when the attempt began: a reboot is done when another one checks in. */
  readonly bootIdBefore?: string;
  /** Install: serial of the disk that was meant when the job was made; kernel names change over a reboot. */
  readonly diskSerial?: string;
  /** Seconds spent in each stage so far. */
  readonly stageSeconds: Readonly<Partial<Record<Stage, number>>>;
  readonly createdAt: Instant;
  readonly startedAt?: Instant;
  readonly stageSince?: Instant;
  readonly endedAt?: Instant;
}

export interface Attempt {
  readonly taskId: TaskId;
  readonly epoch: number;
  readonly startedAt: Instant;
  readonly endedAt?: Instant;
  readonly outcome?: "done" | "failed" | "cancelled" | "superseded";
  readonly reason?: string;
  /**
   * When this attempt switched the node's power. Written before the switch: a
   * restarted server never switches twice for one attempt.
   */
  readonly powerOrderedAt?: Instant;
}
