/**
 * Rules: which image a node gets by itself when it is trusted for the first time.
 * The first that matches counts; a node that no rule matches is left alone.
 */

import type { Architecture } from "./firmware.ts";

/** Every member that is there must hold. */
export interface RuleMatch {
  readonly architecture?: Architecture;
  /** The board's or machine's model; `*` stands for anything, case does not matter. */
  readonly model?: string;
  /** `lab`, `lab/a` or `lab/a/1`, `*` for any name; one of them must fit. */
  readonly places?: readonly string[];
  /** The node must have all of them. */
  readonly tags?: readonly string[];
  /** Serial numbers of boards: one of them. */
  readonly serials?: readonly string[];
  readonly minMemoryMiB?: number;
  /** Of the largest fixed disk, in 10^9 octets. */
  readonly minDiskGB?: number;
}

export interface Rule {
  /** Unique among the rules of the server, and among those of one rack. */
  readonly name: string;
  readonly match: RuleMatch;
  /** Name or digest; of a name the newest for the node's architecture. Without one, a match means: leave it alone. */
  readonly image?: string;
  /** Disk to write, by kernel name or serial number; default: the only fixed one. */
  readonly disk?: string;
  /** Lines for root's authorized_keys. */
  readonly authorizedKeys?: readonly string[];
  /** The node is tested so long before it becomes `ready`. */
  readonly burnInSeconds?: number;
  /**
   * `known` (default): only a disk that is blank, or holds what this server installed, is written.
   * `any`: whatever is on it is lost.
   */
  readonly wipe?: Wipe;
}

export const wipes = ["known", "any"] as const;
export type Wipe = (typeof wipes)[number];

/** `server`: made by API or command line, asked first. `rack:lab`: from that rack's file, for its nodes. */
export type RuleOrigin = "server" | `rack:${string}`;

export interface RankedRule extends Rule {
  readonly origin: RuleOrigin;
}

/** How one rule looks at one node. */
export interface RuleVerdict {
  readonly name: string;
  readonly origin: RuleOrigin;
  /** What speaks against it; empty: it matches. */
  readonly why: readonly string[];
}

export interface RuleTrial {
  /** Every rule that may concern the node, in the order they are asked. */
  readonly verdicts: readonly RuleVerdict[];
  /** What would come of it now, for people. */
  readonly text: string;
}
