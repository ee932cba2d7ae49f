/** What happened to one node, and what that means: the answer to "why is it stuck?". */

import type { Instant, MacAddress, NodeId } from "./brand.ts";

/** Something found out, in words for people. */
export interface Finding {
  /** Stable: `unknown-client`; what tests and scripts look for. */
  readonly code: string;
  /** `problem`: this is why it does not go on. `hint`: it may be. `ok`: as it should be. */
  readonly severity: "problem" | "hint" | "ok";
  readonly text: string;
  /** What to do about it. */
  readonly remedy?: string;
}

export const momentSources = [
  "power",
  "dhcp",
  "file",
  "netconsole",
  "agent",
  "task",
  "network",
] as const;
export type MomentSource = (typeof momentSources)[number];

/** One line of the time line; the same thing said again at once is the same moment. */
export interface Moment {
  readonly at: Instant;
  /** When it was said last; equal to `at` when it was said once. */
  readonly until: Instant;
  readonly times: number;
  readonly source: MomentSource;
  readonly text: string;
  readonly isFault: boolean;
}

export interface Timeline {
  readonly mac: MacAddress;
  readonly nodeId?: NodeId;
  readonly name?: string;
  /** When the boot began that the findings are about. */
  readonly bootedAt?: Instant;
  /** Problems first. Never empty. */
  readonly findings: readonly Finding[];
  /** Oldest first. */
  readonly moments: readonly Moment[];
}
