/** Jobs: an admin's request; its task on each node; and each attempt at a task, numbered by an epoch. */

import type { ImageDigest, Instant, JobId, NodeId, TaskId } from "./brand.ts";
import type { Wipe } from "./rule.ts";

export const jobKinds = [
  "install",
  "update",
  "reboot",
  "shutdown",
  "identify",
  "inventory",
  "burn-in",
  "run",
  "copy",
  "capture",
  "power-on",
  "power-off",
  "power-cycle",
] as const;
export type JobKindName = (typeof jobKinds)[number];

export const taskStates = [
  "waiting", // for its time, its window or its batch; holds up nothing else on its node
  "queued", // may begin as soon as its node is free
  "running",
  "done",
  "failed",
  "cancelled",
] as const;
export type TaskState = (typeof taskStates)[number];
/**
 * Once all tasks have ended: failed when one failed, else cancelled when the job
 * was, or none is done; else done.
 */
export type JobState = TaskState;

export function isFinished(state: TaskState): boolean {
  return state === "done" || state === "failed" || state === "cancelled";
}

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
export const stages = [
  ...installStages,
  ...(["requested", "powering-off", "showing", "shown"] as const),
  ...(["reading-hardware", "recorded", "testing", "tested"] as const),
  ...(["confirming", "confirmed", "falling-back"] as const),
  ...(["sending", "storing"] as const),
  ...(["executing", "executing-by-ssh", "executed", "copying", "copied"] as const),
] as const;
export type Stage = (typeof stages)[number];

export interface InstallParameters {
  readonly image: ImageDigest;
  /** Disk to write, by kernel name or serial; default: the only fixed disk, else refused. */
  readonly disk?: string;
  /** Lines for root's authorized_keys. */
  readonly authorizedKeys: readonly string[];
  /** `known`: the agent refuses a disk that holds what was not installed from here. Default `any`. */
  readonly wipe?: Wipe;
}
export interface UpdateParameters {
  readonly image: ImageDigest;
  /** Absolute paths to carry over, besides those that the image names. */
  readonly keep: readonly string[];
}
export interface RebootParameters {
  /** Warning to logged-in users before it happens, 0-3600. */
  readonly warnSeconds: number;
}
export interface ShutdownParameters extends RebootParameters {
  /** What the node's outlet does once the node is down; default: nothing. */
  readonly outlet?: "off" | "cycle";
}
export interface IdentifyParameters {
  /** How long the node shows which one it is, 1-600. */
  readonly seconds: number;
}
export interface BurnInParameters {
  readonly seconds: number;
  /** Test disks by writing too, where they are blank or hold what was installed from here. */
  readonly writeDisks: boolean;
}

export interface RunParameters {
  /** The program and its arguments; no shell looks at them. */
  readonly argv: readonly string[];
  /** The command of the configuration that it is, if it is one. */
  readonly command?: string;
  /** It is ended after so long, 1-86,400. */
  readonly timeoutSeconds: number;
}

export interface CopyParameters {
  /** A file of the library. */
  readonly image: ImageDigest;
  /** Where it goes, absolute. */
  readonly path: string;
  /** `0644`. */
  readonly mode: string;
}

export const captureFormats = ["rootfs-tar", "raw"] as const;
export interface CaptureParameters {
  /** What the image is called. */
  readonly name: string;
  /** The files of the root file system, or the disk octet by octet. */
  readonly format: (typeof captureFormats)[number];
  /** By kernel name or serial; default: the one that was installed, else the only fixed disk. */
  readonly disk?: string;
  /** Absolute paths besides those that make a node itself; `*` stands for any part of a name. */
  readonly leaveOut: readonly string[];
}

export interface PowerCutParameters {
  /** Also where an agent calls: what runs there loses its power in mid-work. */
  readonly force: boolean;
}

export type JobParameters =
  | { readonly kind: "install"; readonly parameters: InstallParameters }
  | { readonly kind: "update"; readonly parameters: UpdateParameters }
  | { readonly kind: "reboot"; readonly parameters: RebootParameters }
  | { readonly kind: "shutdown"; readonly parameters: ShutdownParameters }
  | { readonly kind: "identify"; readonly parameters: IdentifyParameters }
  | { readonly kind: "inventory"; readonly parameters: Readonly<Record<never, never>> }
  | { readonly kind: "burn-in"; readonly parameters: BurnInParameters }
  | { readonly kind: "run"; readonly parameters: RunParameters }
  | { readonly kind: "copy"; readonly parameters: CopyParameters }
  | { readonly kind: "capture"; readonly parameters: CaptureParameters }
  | { readonly kind: "power-on"; readonly parameters: Readonly<Record<never, never>> }
  | { readonly kind: "power-off"; readonly parameters: PowerCutParameters }
  | { readonly kind: "power-cycle"; readonly parameters: PowerCutParameters };

/** So many, or a part of all: `25%`. */
export type Share = number | `${number}%`;

/** How a job goes through its nodes. Without one all of them begin at once, and none stops another. */
export interface Rollout {
  /** Nodes that go first, alone. One that fails there pauses the rest. */
  readonly canary?: number;
  /** Nodes that go together; each batch begins when the one before has ended. */
  readonly batch?: Share;
  /** At the same time, at most. */
  readonly perRack?: number;
  readonly perStack?: number;
  readonly perOutlet?: number;
  /** Tasks that may fail; one more pauses the rest. */
  readonly failures: Share;
  /** How long the nodes of a batch are given after it, before they are asked how they are. */
  readonly settleSeconds: number;
  /**
   * What must hold of a node then, or its task has failed after all: `online`, `port:22`,
   * `http:8080/ready`, commands of the configuration. Asked after the last batch too. Default:
   * online, before the next batch begins, where the kind leaves a node online.
   */
  readonly health?: readonly string[];
}

/** When a job's tasks may begin. One that has begun goes on to its end. */
export interface When {
  readonly notBefore?: Instant;
  /** IANA name: on whose clock these times are told. */
  readonly zone?: string;
  /** What has not begun by then is cancelled. */
  readonly deadline?: Instant;
  /** Name of a maintenance window. */
  readonly window?: string;
  /** Jobs that must have ended well; one that did not cancels this job. */
  readonly after?: readonly JobId[];
}

export type Job = JobParameters &
  When & {
    readonly id: JobId;
    readonly state: JobState;
    /** The selector as it was given, for people; the nodes were frozen when the job was made. */
    readonly selector: string;
    readonly createdBy: string;
    /** In the words of whoever asked. */
    readonly why?: string;
    readonly rollout?: Rollout;
    /** Nothing more begins. By a person, or `server` when too much failed. */
    readonly paused?: { readonly at: Instant; readonly by: string; readonly reason: string };
    /** What somebody has seen and gone on from: failures so far, and batches up to this one. */
    readonly forgiven?: { readonly failures: number; readonly batch: number };
    /** What was found of the batch whose nodes were asked last; no `endedAt`: they are being asked. */
    readonly health?: {
      readonly batch: number;
      /** Commands that were run for it, in the roll-out's order. */
      readonly jobs: readonly JobId[];
      readonly endedAt?: Instant;
      readonly healthy?: number;
      /** Nodes of the batch. */
      readonly of?: number;
    };
    /** The job whose nodes it asks how they are. */
    readonly healthOf?: JobId;
    /** Why nothing more begins now, in plain words. */
    readonly waitsFor?: string;
    readonly cancelledBy?: string;
    /** Name of the schedule that made it. */
    readonly schedule?: string;
    /** The job whose failed nodes it tries again. */
    readonly retryOf?: JobId;
    readonly createdAt: Instant;
    readonly endedAt?: Instant;
  };

export interface Task {
  readonly id: TaskId;
  readonly jobId: JobId;
  readonly nodeId: NodeId;
  readonly kind: JobKindName;
  readonly state: TaskState;
  /** Which batch of the roll-out, from 0; absent without one. */
  readonly batch?: number;
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
  /** Update of a Raspberry Pi: the board was given the new system by network, once. */
  readonly isTried?: true;
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
   * When this attempt switched the node's power, or had its agent restart it into
   * netinst. Written before: a restarted server never does it twice for one attempt.
   */
  readonly powerOrderedAt?: Instant;
}

/** What a job would do, and what would be lost: the answer to a request with `dryRun`. */
export interface JobPlan {
  readonly dryRun: true;
  readonly kind: JobKindName;
  /** Why nothing would begin at once. */
  readonly waitsFor?: string;
  readonly nodes: readonly {
    readonly id: NodeId;
    readonly name: string;
    readonly does: string;
    readonly loses?: string;
    readonly refused?: string;
    /** What it does first. */
    readonly after?: string;
    /** From 1; absent when all begin together. */
    readonly batch?: number;
  }[];
}
