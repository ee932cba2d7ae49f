/**
 * The journal: everything marcoboot must still know after a power cut.
 *
 * Promise of every implementation (one contract suite, test/store/contract.ts):
 * a method that returned has its change on stable storage, and a transaction is
 * there as a whole or not at all. Calls are synchronous: a commit costs one
 * fsync, and no caller can acknowledge before it.
 */

import type { UserRole } from "#protocol/account.ts";
import type {
  ImageDigest,
  Instant,
  Ipv4Address,
  JobId,
  MacAddress,
  NodeId,
  TaskId,
} from "#protocol/brand.ts";
import type { DomainEvent, StoredEvent } from "#protocol/events.ts";
import type { Image } from "#protocol/image.ts";
import type { Attempt, Job, Task, TaskState } from "#protocol/job.ts";
import type { LearningRecord } from "#protocol/learning.ts";
import type { Node, Protection, SlotRef } from "#protocol/node.ts";
import type { Notice, StoredNotice } from "#protocol/notice.ts";
import type { Rack } from "#protocol/rack.ts";
import type { Rule } from "#protocol/rule.ts";
import type { Schedule, Window } from "#protocol/schedule.ts";

/** An address that belongs to a MAC address for good. Never handed to another. */
export interface Reservation {
  readonly mac: MacAddress;
  readonly address: Ipv4Address;
  readonly hostname?: string;
  readonly slot?: SlotRef;
  readonly createdAt: Instant;
}

/** Row form of `Lease` (lease/lease.ts); free addresses have no row. */
export interface LeaseRow {
  readonly address: Ipv4Address;
  readonly mac: MacAddress;
  readonly state: "offered" | "bound" | "declined";
  readonly until: Instant;
}

/** A disk that nobody may write, wherever it is. */
export interface ProtectedDisk extends Protection {
  readonly serial: string;
}

/** A one-time enrolment secret. Only its hash is kept. */
export interface EnrolmentToken {
  /** sha-256 of the token, hex. */
  readonly hash: string;
  readonly mac: MacAddress;
  /** Why the window is open: `power-on`, `reboot`, `approved`. */
  readonly cause: string;
  readonly openedAt: Instant;
  readonly expiresAt: Instant;
  readonly usedAt?: Instant;
  /** Public key of the node that used it: it alone may ask again for an answer that was lost. */
  readonly holder?: string;
}

/** An admin vouched for a node: it may enrol once without a token. */
export interface Approval {
  readonly mac: MacAddress;
  readonly expiresAt: Instant;
  /** Code of the only public key it is for; absent: whichever asks first. */
  readonly code?: string;
  /** Public key of the node that used it: it alone may ask again for an answer that was lost. */
  readonly holder?: string;
}

export interface User {
  readonly name: string;
  /** scrypt, as `salt:hash` in hex. */
  readonly password: string;
  readonly role: UserRole;
  readonly createdAt: Instant;
}

/** Bearer token of the API; only its hash is kept. */
export interface ApiToken {
  readonly hash: string;
  readonly user: string;
  readonly name: string;
  readonly createdAt: Instant;
  readonly expiresAt?: Instant;
  readonly lastUsedAt?: Instant;
  /** It may do no more than this, whatever its user may; absent: as much as its user. */
  readonly role?: UserRole;
}

export interface AuditEntry {
  readonly id: number;
  readonly at: Instant;
  /** User name, `node:<id>`, or `server`. */
  readonly who: string;
  readonly what: string;
  readonly target: string;
  readonly detail?: string;
}

export interface TaskCount {
  readonly batch: number;
  readonly state: TaskState;
  readonly count: number;
}

export interface TaskRef {
  readonly id: TaskId;
  readonly nodeId: NodeId;
}

export interface TransactionOptions {
  /**
   * No part of it is undone alone: where one throws that has written, all is undone, even if that
   * is caught. Such parts cost less.
   */
  readonly isWhole?: boolean;
  /**
   * Default true. False: over before it is on stable storage. A server that is killed loses nothing
   * of it, a power cut the last half minute, unless another change followed. Says nothing about a part.
   */
  readonly waitsForDisk?: boolean;
}

export interface Store {
  /** Runs `work` as one atomic, durable change; a throw inside undoes it. Nested calls join the outer one. */
  transaction<T>(work: () => T, options?: TransactionOptions): T;
  /** Runs `work` once the outermost transaction is on stable storage, at once outside of one; never when it is undone. */
  afterCommit(work: () => void): void;
  /**
   * Leaves nothing on the disk of what was replaced or removed. Takes as long as reading and
   * writing all of it. @throws UnavailableError when the disk has no room for that
   */
  compact(): void;
  /** All of it into an empty file. Not within a transaction. */
  copyTo(path: string): void;
  close(): void;

  readonly nodes: {
    get(id: NodeId): Node | undefined;
    byMac(mac: MacAddress): Node | undefined;
    byName(name: string): Node | undefined;
    list(): readonly Node[];
    put(node: Node): void;
    delete(id: NodeId): void;
  };
  readonly racks: {
    get(name: string): Rack | undefined;
    list(): readonly Rack[];
    put(rack: Rack): void;
    delete(name: string): void;
  };
  readonly rules: {
    /** In their order. */
    list(): readonly Rule[];
    /** These and no others, in this order. @throws ConflictError when two have one name. */
    replace(rules: readonly Rule[]): void;
  };
  readonly protectedDisks: {
    get(serial: string): ProtectedDisk | undefined;
    /** By serial number. */
    list(): readonly ProtectedDisk[];
    put(disk: ProtectedDisk): void;
    delete(serial: string): void;
  };
  readonly reservations: {
    byMac(mac: MacAddress): Reservation | undefined;
    byAddress(address: Ipv4Address): Reservation | undefined;
    list(): readonly Reservation[];
    /** @throws ConflictError when another MAC address holds the address. */
    put(reservation: Reservation): void;
    delete(mac: MacAddress): void;
  };
  /** What versions before the lease file (lease/lease-file.ts) left: read once, when that is not there. */
  readonly leases: {
    list(): readonly LeaseRow[];
  };
  readonly images: {
    get(digest: ImageDigest): Image | undefined;
    byName(name: string): readonly Image[];
    list(): readonly Image[];
    put(image: Image): void;
    delete(digest: ImageDigest): void;
  };
  readonly jobs: {
    get(id: JobId): Job | undefined;
    /** Newest first. `before`: id of the last job of the previous page. */
    list(page: { readonly limit: number; readonly before?: JobId }): readonly Job[];
    /** Oldest first. */
    unfinished(): readonly Job[];
    put(job: Job): void;
  };
  readonly tasks: {
    get(id: TaskId): Task | undefined;
    ofJob(job: JobId): readonly Task[];
    /** How many tasks of the job are in each state, by batch. */
    counts(job: JobId): readonly TaskCount[];
    hasUnfinished(job: JobId): boolean;
    ofBatch(job: JobId, batch: number): readonly Task[];
    /** Oldest first; without reading their documents. */
    inState(job: JobId, batch: number, state: TaskState): readonly TaskRef[];
    /** Running, then queued; oldest first. Those that wait are not among them. */
    unfinished(): readonly Task[];
    /** How many nodes have a queued or running task. */
    nodesAtWork(): number;
    /** The running, then the queued tasks of a node, oldest first. */
    unfinishedOf(node: NodeId): readonly Task[];
    /** Every task the node ever had, newest first, at most `limit`. */
    ofNode(node: NodeId, limit: number): readonly Task[];
    put(task: Task): void;
    /** Appends lines to the task's log, which keeps its newest 10,000. */
    appendLog(id: TaskId, at: Instant, lines: readonly string[]): void;
    log(id: TaskId): readonly { readonly at: Instant; readonly line: string }[];
  };
  readonly windows: {
    get(name: string): Window | undefined;
    /** By name. */
    list(): readonly Window[];
    put(window: Window): void;
    delete(name: string): void;
  };
  readonly schedules: {
    get(name: string): Schedule | undefined;
    /** By name; `after`: name of the last one of the previous page. */
    list(page: { readonly limit: number; readonly after?: string }): readonly Schedule[];
    /** Those whose time has come and that are not paused, the longest overdue first. */
    due(at: Instant, limit: number): readonly Schedule[];
    put(schedule: Schedule): void;
    delete(name: string): void;
  };
  readonly attempts: {
    put(attempt: Attempt): void;
    get(task: TaskId, epoch: number): Attempt | undefined;
    ofTask(task: TaskId): readonly Attempt[];
  };
  readonly events: {
    /** Keeps the newest 100,000. */
    append(
      at: Instant,
      events: readonly DomainEvent[],
      options?: TransactionOptions,
    ): readonly StoredEvent[];
    since(id: number, limit: number): readonly StoredEvent[];
    /** The newest `limit` events at or after `after` with one of these subjects (`subjectOf`), oldest first. */
    about(subjects: readonly string[], after: Instant, limit: number): readonly StoredEvent[];
    lastId(): number;
  };
  /** Runs of learning a rack. */
  readonly learnings: {
    newest(): LearningRecord | undefined;
    /** Keeps the newest 20. */
    put(learning: LearningRecord): void;
  };
  readonly tokens: {
    put(token: EnrolmentToken): void;
    get(hash: string): EnrolmentToken | undefined;
    /** Tokens of `mac` that are neither used nor, at `at`, expired; the one that lasts longest first. */
    openOf(mac: MacAddress, at: Instant): readonly EnrolmentToken[];
    /** Marks it used, on disk, before the caller answers. False when it was used before. */
    burn(hash: string, at: Instant, holder?: string): boolean;
    deleteExpired(at: Instant): void;
  };
  /** The newest of each node. */
  readonly approvals: {
    put(approval: Approval): void;
    get(mac: MacAddress): Approval | undefined;
    /** Marks it used, on disk, before the caller answers. False when it was used before, or never given. */
    burn(mac: MacAddress, holder: string): boolean;
  };
  readonly users: {
    get(name: string): User | undefined;
    list(): readonly User[];
    put(user: User): void;
    delete(name: string): void;
  };
  readonly apiTokens: {
    get(hash: string): ApiToken | undefined;
    /** Oldest first. */
    list(): readonly ApiToken[];
    put(token: ApiToken): void;
    delete(hash: string): void;
  };
  /** Single values, e.g. the key that image tickets are derived from. */
  readonly settings: {
    get(name: string): string | undefined;
    put(name: string, value: string): void;
  };
  /** What is, was, or could not be told to people; the newest 10,000. */
  readonly notices: {
    /** Nothing happens when the channel has one with this key. */
    add(channel: string, notice: Notice): void;
    /** Those of a channel to be tried at `at`, oldest first. */
    due(channel: string, at: Instant, limit: number): readonly StoredNotice[];
    put(notice: StoredNotice): void;
    /** Newest first. */
    list(limit: number): readonly StoredNotice[];
  };
  readonly audit: {
    append(entry: Omit<AuditEntry, "id">): void;
    list(page: { readonly limit: number; readonly before?: number }): readonly AuditEntry[];
  };
}
