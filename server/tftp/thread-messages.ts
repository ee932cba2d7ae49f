/** What the server and its datagram thread tell each other (engine-batched.ts, thread.ts). */

import type { Answer, Ended, Question, TransferLimits } from "./transfers.ts";

/** Descriptors the server opened; the thread has them until it ends, and closes none. */
export interface ThreadData {
  readonly requests: number;
  readonly transfers: number;
  readonly spare: number;
  readonly limits: TransferLimits;
  /** False: one message per datagram, as where the kernel has no UDP_SEGMENT. */
  readonly segmentation: boolean;
  /** One number per name of `countNames`, written by the thread alone. */
  readonly counts: SharedArrayBuffer;
}

export const countNames = [
  "received",
  "repeated",
  "malformed",
  "lowPort",
  "unknown",
  "tooMany",
  "calls",
  "datagrams",
  "refused",
  "transfers",
] as const;

/** The content travels as memory both see; it is copied once per file, not per transfer. */
export type ThreadAnswer =
  | Exclude<Answer, { readonly kind: "content" }>
  | (Omit<Answer & { readonly kind: "content" }, "content"> & {
      readonly shared: SharedArrayBuffer;
    });

export type ToThread =
  | { readonly kind: "answer"; readonly answer: ThreadAnswer }
  /** End when no transfer runs any more, after `limitMs` at the latest. */
  | { readonly kind: "close"; readonly limitMs: number };

export type FromThread =
  /** Runs. After a message to it, 8 octets (1, little-endian) written to `wake` make it look. */
  | { readonly kind: "ready"; readonly wake: number }
  | { readonly kind: "question"; readonly question: Question }
  | { readonly kind: "ended"; readonly report: Ended }
  /** The interface cannot cut rows of datagrams: each goes by itself from now on. */
  | { readonly kind: "no-segmentation" };
