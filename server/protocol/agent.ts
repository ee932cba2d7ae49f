/**
 * What the agent and the server say to each other over HTTPS, after discovery.
 *
 *   POST /agent/v1/enrol        EnrolRequest      -> EnrolAnswer        (TLS; no client certificate yet)
 *   POST /agent/v1/check-in     CheckIn           -> CheckInAnswer      (mutual TLS from here on)
 *   GET  /agent/v1/assignment?wait=25&known=<task>:<epoch>:<action>  -> SignedAssignment | 204
 *   POST /agent/v1/renew        RenewRequest      -> EnrolAnswer
 *   POST /agent/v1/load         NodeLoad          -> LoadAnswer         (each second, while somebody looks)
 *   POST /agent/v1/switch-ports SwitchPortsHeard  -> 204                (when it hears of another)
 *   GET  /agent/v1/agent/<sha-256>                -> octets             (the agent's own program)
 *   POST /agent/v1/capture?task=&epoch=&boot=&at=  octets, 1 MiB at most -> 204 | 409   (a capture)
 *   POST /agent/v1/capture/end  CaptureEnd        -> 204 | 409
 *   POST /agent/v1/report       Report            -> ReportAnswer | 409 attempt-superseded
 *   GET  <assignment.image.url> with `Authorization: Bearer <ticket>`, Range allowed (plain boot listener)
 *
 * Errors are problem documents (problem.ts).
 */

import type { Instant, NodeId, TaskId } from "./brand.ts";
import type { DiskGuard } from "./disk.ts";
import type { Architecture } from "./firmware.ts";
import type { HeartbeatOffer } from "./heartbeat.ts";
import type { ImageManifest } from "./image.ts";
import type { CaptureParameters, Stage } from "./job.ts";
import type {
  AgentProgram,
  AgentRole,
  BurnIn,
  Hardware,
  InstalledDisk,
  InstalledSystem,
} from "./node.ts";
import type { RootSlot } from "./root-slots.ts";
import type { SwitchPort } from "./switch-port.ts";

export const agentVersion = "0.1.0";

export interface EnrolRequest {
  /** SubjectPublicKeyInfo of the node's new ed25519 key, PEM. */
  readonly publicKey: string;
  /** One-time token from the kernel line; absent when an admin must approve. */
  readonly token?: string;
  /** 128 random bits in hex, signed back in the answer. */
  readonly nonce: string;
  readonly mac: string;
  readonly architecture: Architecture;
  readonly bootId: string;
  readonly hardware: Hardware;
}

export interface EnrolAnswer {
  readonly nodeId: NodeId;
  /** Client certificate, PEM. */
  readonly certificate: string;
  readonly nonce: string;
  /** ed25519 by the server's pinned key over `enrolText(answer)`, base64. */
  readonly signature: string;
}

export function enrolText(answer: Omit<EnrolAnswer, "signature">): string {
  return `marcoboot enrol 1\n${answer.nonce}\n${answer.nodeId}\n${answer.certificate}`;
}

/**
 * Asks for another certificate while the present one counts; answered like an enrolment. The
 * present one counts until the new one is shown: an answer that is lost costs nothing.
 */
export interface RenewRequest {
  /** As in {@link EnrolRequest}. */
  readonly publicKey: string;
  readonly nonce: string;
}

/**
 * Sent at start, and every 15 s afterwards while beats (heartbeat.ts) are not answered; a changed
 * boot id tells of a reboot.
 */
export interface CheckIn {
  readonly role: AgentRole;
  readonly version: string;
  readonly bootId: string;
  readonly hostname: string;
  readonly uptimeSeconds: number;
  readonly hardware?: Hardware;
  /** MiB of MemTotal minus MemAvailable: what boot and agent need. */
  readonly usedMemoryMiB: number;
  /** Of a resident agent whose system was installed or updated from here. */
  readonly system?: InstalledSystem;
  /** Of a resident agent that can replace itself. */
  readonly program?: AgentProgram;
}
export interface CheckInAnswer {
  readonly nodeId: NodeId;
  readonly name: string;
  readonly checkInSeconds: number;
  /** How it beats from now on; absent: it asks by long polls. */
  readonly heartbeat?: HeartbeatOffer | undefined;
  /** Somebody looks at the node: it shall tell its load. */
  readonly isWatched?: true;
  /** The server's clock: a board without a battery begins in 1970. */
  readonly now: Instant;
  /** It shall fetch this program, and run it in its own place. */
  readonly update?: AgentUpdate;
  /** Of a node with a system of its own, for whose netinst there is nothing to do: it shall go back. */
  readonly leave?: true;
  /** Its certificate ends soon, or has no end yet: it shall ask for another. */
  readonly renew?: true;
}

/** Ports of switches, as they say by LLDP or CDP, that the agent's interface may hang on. */
export interface SwitchPortsHeard {
  readonly heard: readonly SwitchPort[];
}

/** `agent.squashfs` of the server: Node, the agent and its tools. */
export interface AgentUpdate {
  /** sha-256, hex. */
  readonly digest: string;
  readonly sizeBytes: number;
}

interface AssignmentBase {
  readonly nodeId: NodeId;
  readonly taskId: TaskId;
  /** Attempt number: an agent drops an assignment older than one it has seen for the task. */
  readonly epoch: number;
}
/** An image, and what lets this node fetch it for this attempt. */
export interface ImageTicket {
  readonly image: ImageManifest & { readonly signature: string; readonly url: string };
  /** Sent as bearer token, reveals nothing else. */
  readonly ticket: string;
}
export interface InstallAssignment extends AssignmentBase, ImageTicket {
  readonly action: "install";
  readonly disk?: string;
  readonly guard?: DiskGuard;
  readonly hostname: string;
  readonly authorizedKeys: readonly string[];
}
/**
 * Writes the image into the root slot that does not run, with what is kept of the one that does,
 * and has it tried once at the next boot.
 */
export interface UpdateAssignment extends AssignmentBase, ImageTicket {
  readonly action: "update";
  readonly disk?: string;
  readonly guard: DiskGuard;
  readonly hostname: string;
  readonly authorizedKeys: readonly string[];
  /** Absolute paths. */
  readonly keep: readonly string[];
  /** The new system goes back to the old one by itself when nobody has confirmed it by then. */
  readonly trialSeconds: number;
  /** No other attempt follows one that breaks off: the node goes back to its own system then. */
  readonly isLast: boolean;
}
/** To the new system: it is the one that boots from now on. */
export interface ConfirmAssignment extends AssignmentBase {
  readonly action: "confirm";
}
/** `reboot` ends netinst's work too: the server then answers the next boot with "local disk". */
export interface PowerAssignment extends AssignmentBase {
  readonly action: "reboot" | "shutdown";
  readonly warnSeconds: number;
}
/** Shows a person which board this is: by light, sound and text. */
export interface IdentifyAssignment extends AssignmentBase {
  readonly action: "identify";
  readonly seconds: number;
  /** What the node is called, for its screen. */
  readonly name: string;
}
/** Looks at the machine again and tells what it found. */
export interface InventoryAssignment extends AssignmentBase {
  readonly action: "inventory";
}
/** Tests memory, processor and disks, each as long as its share of `seconds`. */
export interface BurnInAssignment extends AssignmentBase {
  readonly action: "burn-in";
  readonly seconds: number;
  /** Whether disks that `guard` allows are written too; what is on them is lost. */
  readonly writeDisks: boolean;
  readonly guard: DiskGuard;
}
/** Runs a program of the installed system; its lines are the log of the report. */
export interface RunAssignment extends AssignmentBase {
  readonly action: "run";
  readonly argv: readonly string[];
  readonly timeoutSeconds: number;
}
/** Writes a file of the library. */
export interface CopyAssignment extends AssignmentBase, ImageTicket {
  readonly action: "copy";
  /** Absolute. */
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
}
/** Sends what is on a disk, which is only read. */
export interface CaptureAssignment extends AssignmentBase {
  readonly action: "capture";
  readonly format: CaptureParameters["format"];
  /** As in {@link CaptureParameters}; a node has forgotten which one was installed. */
  readonly disk?: string;
  readonly leaveOut: readonly string[];
  /** Of two root slots, the one that boots. */
  readonly slot?: RootSlot;
  /** Of the image that is made: a Raspberry Pi's boot files are on a partition of their own. */
  readonly bootloader: ImageManifest["bootloader"];
  /** No other attempt follows: when this one fails, the node goes back to its own system. */
  readonly isLast: boolean;
}
/** Everything was sent. */
export interface CaptureEnd {
  readonly taskId: TaskId;
  readonly epoch: number;
  readonly bootId: string;
  readonly octets: number;
  /** sha-256 of all octets sent, hex. */
  readonly digest: string;
}
export type Assignment =
  | InstallAssignment
  | UpdateAssignment
  | ConfirmAssignment
  | PowerAssignment
  | IdentifyAssignment
  | InventoryAssignment
  | BurnInAssignment
  | RunAssignment
  | CopyAssignment
  | CaptureAssignment;

type WorkOf<One> = One extends AssignmentBase ? Omit<One, keyof AssignmentBase> : never;
/** An assignment without whom it is for. */
export type Work = WorkOf<Assignment>;

/** The agent checks `signature` (ed25519 by the pinned key over `assignmentText`) before it acts. */
export interface SignedAssignment {
  /** JSON text of an {@link Assignment}. */
  readonly assignment: string;
  readonly signature: string;
}
export function assignmentText(assignment: string): string {
  return `marcoboot assignment 1\n${assignment}`;
}
/** Manifests are signed over this text. */
export function manifestText(canonicalManifest: string): string {
  return `marcoboot image 1\n${canonicalManifest}`;
}

export interface Report {
  readonly taskId: TaskId;
  readonly epoch: number;
  readonly bootId: string;
  readonly status: "running" | "done" | "failed";
  readonly stage: Stage;
  /** 0-100 within the stage. */
  readonly percent: number;
  readonly bytesPerSecond?: number;
  /** Required when failed: plain words with the wrong value. */
  readonly reason?: string;
  /** Whether another attempt could end better (network) or not (wrong hash, disk too small). */
  readonly retryable?: boolean;
  readonly log?: readonly string[];
  /** With `done` of an install: sha256 fingerprints of the SSH host keys, `SHA256:…`. */
  readonly sshHostKeys?: readonly string[];
  /** With `done` of an install: the disk it is on. */
  readonly disk?: InstalledDisk;
  /** With `done` of an inventory. */
  readonly hardware?: Hardware;
  /** With the end of a burn-in, whichever it was. */
  readonly burnIn?: Pick<BurnIn, "seconds" | "results">;
}
export interface ReportAnswer {
  /** The attempt was cancelled: stop at the next safe point. */
  readonly cancelled: boolean;
}
