/**
 * What a job kind is. One file in `kinds/` per kind; `registry.ts` is the list.
 *
 * A kind's `run` is one attempt. It may be stopped at any instant and called
 * again with the same epoch after a restart: it reads where it is from the
 * journal (`run.task`), and every step it takes is either repeatable or goes
 * through {@link TaskRun.switchPowerOnce}.
 */

import type { ImageTicket, InstallAssignment, Report, Work } from "#protocol/agent.ts";
import type { ImageDigest, Milliseconds } from "#protocol/brand.ts";
import type { DiskGuard } from "#protocol/disk.ts";
import type { Image } from "#protocol/image.ts";
import type { Job, JobKindName, JobParameters, Stage, Task } from "#protocol/job.ts";
import type { BurnIn, Node } from "#protocol/node.ts";
import type { Wipe } from "#protocol/rule.ts";
import type { UploadKey } from "../../images/uploads.ts";
import type { NodeChange } from "../node/nodes.ts";
import type { Shell } from "../ssh/shell.ts";

export type JobOf<Name extends JobKindName> = Extract<Job, { readonly kind: Name }>;
type ParametersOf<Name extends JobKindName> = Extract<
  JobParameters,
  { readonly kind: Name }
>["parameters"];

export interface Kind<Name extends JobKindName> {
  readonly kind: Name;
  /** In order. The first one is set when an attempt begins. */
  readonly stages: readonly [Stage, ...Stage[]];
  /** Stages the agent may report; a report never moves a task backwards. */
  readonly agentStages: readonly Stage[];
  /** Where an agent's `done` leads: the node still has to prove it. */
  readonly stageAfterDone: Stage | ((present: Stage) => Stage);
  /** Stage a task moves to when its power order was handed to the agent. */
  readonly stageWhenFetched?: Stage;
  /** A job of this kind for more nodes is refused. */
  readonly mostNodes?: number;
  /** A node that did it is online: one that is not, shortly after, has not stood it. */
  readonly endsOnline?: boolean;
  /** @throws InvalidInputError naming the wrong member. */
  parse(parameters: unknown): ParametersOf<Name>;
  /** What a node's task keeps of what is known of the node when the job is made. */
  keepsOf?(node: Node, parameters: ParametersOf<Name>): Pick<Task, "diskSerial">;
  /** Why this node cannot be given this job now, in plain words; asked when the task's turn comes. */
  refuse(node: Node, job: JobOf<Name>, images: Pick<Images, "get">): string | undefined;
  /**
   * Resolves when the node has proven the result; its value is what changes in the node with it.
   *
   * @throws AttemptError when the attempt failed.
   */
  run(run: TaskRun, job: JobOf<Name>): Promise<NodeChange>;
  /** What an attempt that begins, or a task that ends unfinished, changes in the node. */
  nodeWhenBegun?(node: Node): NodeChange;
  nodeWhenEnded?(
    node: Node,
    task: Task,
    reason: string,
    outcome: "failed" | "cancelled",
  ): NodeChange;
  /** What a report changes in the node. */
  nodeWhenReported?(node: Node, stage: Stage): NodeChange;
  /** What the agent's last report of an attempt, `done` or `failed`, changes in the node. */
  nodeWhenTold?(node: Node, told: Told): NodeChange;
}

/** What a report brings besides progress. */
export type Told = Pick<Report, "sshHostKeys" | "disk" | "hardware"> & {
  readonly burnIn?: BurnIn;
};

export interface Images {
  get(digest: ImageDigest): InstallImage | undefined;
  /** Where its bytes are, as stored. */
  pathOf(digest: ImageDigest): string;
}
export type CaptureDescription = Pick<Image, "name" | "architecture" | "format" | "bootloader">;
/** What agents have sent of their disks, and the library that takes it. */
export interface Captures {
  /** @param checkWanted - throws when the image is not to be published any more */
  takeIn(
    key: UploadKey,
    described: CaptureDescription & Pick<Image, "origin" | "slots" | "keep">,
    checkWanted: () => void,
  ): Promise<Image | undefined>;
}
export type InstallImage = Omit<InstallAssignment["image"], "url">;

/** How long is waited for what. */
export interface Timing {
  /** Without check-in and report, while the agent works. */
  readonly silence: Milliseconds;
  /** From power-on or reboot order to netinst's first check-in. */
  readonly boot: Milliseconds;
  /** The same where a human must press the button. */
  readonly manualBoot: Milliseconds;
  /** For an agent's whole work in one attempt. */
  readonly work: Milliseconds;
  /** From the final reboot order to the installed system's first check-in. */
  readonly firstBoot: Milliseconds;
  /** A node that obeyed a shutdown and is silent this long counts as off. */
  readonly offSilence: Milliseconds;
  /** Before the second attempt; doubled before each further one. */
  readonly retry: Milliseconds;
  /** A task whose turn the queue was not told, or has lost, is found again within two of these. */
  readonly sweep: Milliseconds;
}

/** What one attempt may see and do. */
export interface TaskRun {
  /** As the journal has it now. */
  readonly task: Task;
  readonly node: Node;
  readonly timing: Timing;
  /** Lines that every system we write gets in root's `authorized_keys`. */
  readonly authorizedKeys: readonly string[];
  readonly signal: AbortSignal;
  setStage(stage: Stage): void;
  /** A line of the task's log, for people. */
  say(line: string): void;
  /**
   * Gives the agent this order until another replaces it. Only the boot named
   * by `bootId` gets it, so that no node reboots twice; it is the task's
   * `bootIdBefore` from now on.
   */
  orderInstall(job: JobOf<"install">, bootId: string): void;
  order(work: Exclude<Work, { readonly action: "install" }>, bootId: string): void;
  /** Has the agent of this boot restart the node; counts as the attempt's power switch. */
  orderRestart(bootId: string): void;
  /** Whether this attempt has switched the node's power, or had its agent restart it. */
  isRestartOrdered(): boolean;
  withdraw(): void;
  /** The node by SSH, for when no agent is there. @throws ForbiddenError, UnavailableError */
  shell(signal: AbortSignal): Promise<Shell>;
  /** What lets the node fetch the image during this attempt. @throws AttemptError when it is gone */
  ticketFor(image: ImageDigest): ImageTicket;
  /** The image as it is stored. @throws AttemptError when it is gone */
  fileOf(image: ImageDigest): string;
  /** Whether no other attempt follows this one. */
  isLastAttempt(): boolean;
  /**
   * Takes what the agent sent in this attempt into the library.
   *
   * @throws AttemptError when nothing whole was sent; ImageInvalidError, ConflictError, UnavailableError
   */
  takeCapture(described: CaptureDescription): Promise<Image>;
  /** What the agent must leave alone on this node's disks. */
  guard(wipe: Wipe): DiskGuard;
  /** Lets the node enrol again: it will boot netinst with a new identity. */
  openWindow(cause: "power-on" | "reboot"): void;
  hasOutlet(): boolean;
  /**
   * At most once per epoch, over restarts too. False when it was done before, perhaps by a server
   * that was killed in the middle: then the node has power, and nothing else was done.
   *
   * @throws PowerUnreachableError, PowerRefusedError
   */
  switchPowerOnce(): Promise<boolean>;
  /** Switches its outlet on; on already is no error. @throws PowerUnreachableError, PowerRefusedError */
  givePower(): Promise<void>;
  /**
   * Cuts the power of a node, and gives it again when `restart`. Where its outlet feeds other
   * nodes of this job too, the last of them does it for all.
   *
   * @returns false when the outlet feeds a node that is up, and the job has no more to do with it
   * @throws PowerUnreachableError, PowerRefusedError
   */
  cutPower(restart: boolean): Promise<boolean>;
  /** `off` only where the outlet knows that the node draws no power. */
  queryPower(): Promise<Node["power"]>;
  /** Since the last check-in or report, at most since this run began. */
  silence(): Milliseconds;
  /**
   * Asks `answer` again at each report and check-in, and every few seconds.
   *
   * @returns undefined when `limit` has passed.
   * @throws whatever `answer` throws; or the abort reason.
   */
  until<T>(answer: () => T | undefined, limit: Milliseconds): Promise<T | undefined>;
}

/** One attempt failed; the task may try again when `retryable`. */
export class AttemptError extends Error {
  readonly retryable: boolean;

  constructor(reason: string, retryable: boolean, options?: ErrorOptions) {
    super(reason, options);
    this.retryable = retryable;
  }
  override get name(): string {
    return "AttemptError";
  }
}
