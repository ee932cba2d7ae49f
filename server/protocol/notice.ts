/** A notice: what a person should hear of who is not looking at the page. */

import type { Instant } from "./brand.ts";

export const occasions = [
  "job-failed", // a job ended, and not all of its tasks were done
  "job-paused", // too much failed in a roll-out, the rest waits for a person
  "node-lost", // an installed node has not called for a while, and should have
  "rogue-server", // somebody else answers DHCP
  "job-done", // a job ended well
  "alarm", // anything else that an admin should look into
] as const;
export type Occasion = (typeof occasions)[number];

/** What is told unless the configuration says otherwise: what needs a person. */
export const usualOccasions: readonly Occasion[] = [
  "job-failed",
  "job-paused",
  "node-lost",
  "rogue-server",
];

export interface Notice {
  readonly occasion: Occasion | "test";
  /** The same key is told once on a channel. */
  readonly key: string;
  readonly at: Instant;
  /** One line. */
  readonly subject: string;
  /** Some lines: what happened, with names, and what to do. */
  readonly text: string;
}

/** A notice on its way out by one channel. */
export interface StoredNotice {
  readonly id: number;
  readonly channel: string;
  readonly notice: Notice;
  /** Times it could not be delivered. */
  readonly failures: number;
  /** When it is tried; absent once it was sent or given up. */
  readonly nextAt?: Instant;
  readonly sentAt?: Instant;
  /** Why it was not delivered, the last time. */
  readonly reason?: string;
}
