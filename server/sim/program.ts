/**
 * Firmware as a program: a generator that sends through its station and yields
 * the time until which it wants to wait. It is resumed with what was heard, or
 * with undefined when that time has come. Nothing in it reads a clock or a
 * socket, so tests run it against a network in memory.
 */

import type { EthernetAddress, TcpFrame, UdpFrame } from "./frame.ts";

/** Milliseconds of the simulation's monotonic clock. */
export type Moment = number;

/** A datagram or segment for this board. `isBroadcast`: the frame went to every board. */
export type Arrival = (UdpFrame | TcpFrame) & { readonly isBroadcast: boolean };

export type Program<Result> = Generator<Moment, Result, Arrival | undefined>;

/** One line of a board's time line. */
export interface Step {
  /** Milliseconds since the board's power came on. */
  readonly atMs: number;
  readonly kind: StepKind;
  readonly text: string;
}

export type StepKind =
  | "power"
  | "discover"
  | "offer"
  | "request"
  | "ack"
  | "ignored"
  | "arp"
  | "file"
  | "not-found"
  | "retry"
  | "end";

/** How a boot ended. `reason` is for people: what was missing, in the words of the firmware's stage. */
export type Ending =
  | { readonly outcome: "booted" }
  /** No usable offer. */
  | { readonly outcome: "silence"; readonly reason: string }
  /** An address, but not the files. */
  | { readonly outcome: "failed"; readonly reason: string };

export function failed(reason: string): Ending {
  return { outcome: "failed", reason };
}

/** Where files are fetched from. */
export interface FileServer {
  readonly address: number;
  readonly mac: EthernetAddress;
}

/** Waits, deaf to everything. */
export function* pause(until: Moment): Program<void> {
  for (let arrival = yield until; arrival !== undefined; ) arrival = yield until;
}
