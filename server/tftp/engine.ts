/** What moves the datagrams: a thread with batched system calls, or Node's sockets. */

import type { Milliseconds } from "#protocol/brand.ts";
import type { Answer, Ended, Question, TransferCounts, TransferLimits } from "./transfers.ts";
import type { WireCounts } from "./wire.ts";

export interface EngineContext {
  readonly limits: TransferLimits;
  /** Judges a request; called once for each. Must not throw. */
  answer(question: Question): Answer;
  ended(report: Ended): void;
}

export interface EngineCounts extends TransferCounts, WireCounts {
  /** That run now. */
  readonly transfers: number;
}

export interface Engine {
  readonly kind: "batched" | "portable";
  counts(): EngineCounts;
  /** Takes no request any more, lets transfers finish for `limit` at most, closes the sockets. */
  close(limit: Milliseconds): Promise<void>;
}
