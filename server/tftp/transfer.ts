/**
 * One TFTP read transfer, from the first answer to the last ACK, as a pure
 * state machine: (state, event) -> (state, what to send, time to wait).
 * No socket, no timer, no content: transfers.ts has all three.
 *
 *   start --OACK--> negotiating --ACK 0--> sending --ACK of the last block--> finished
 *     `--(no option granted)----------------^
 *
 * Blocks count from 1 without limit here and modulo 65536 on the wire, so a
 * file may have more than 65535 blocks (for a client that lets its counter roll
 * over). With windows of one block a repeated ACK never causes a datagram: with
 * two copies of every block in flight the network would carry both for ever (the
 * Sorcerer's Apprentice, RFC 1123 §4.2.3.1); only the timer sends again.
 *
 * The timer follows the client's round trips (RFC 6298; of datagrams sent once
 * only, as Karn says). A client that never said a word costs five datagrams.
 */

import { milliseconds, unreachable } from "#protocol/brand.ts";
import { lastBlock, type TransferPlan } from "./terms.ts";

/** Before the first round trip was seen. */
const firstTimeout = milliseconds(1000);
/** A boot ROM pauses between blocks to write or to draw; sending earlier only doubles its work. */
const minTimeout = milliseconds(250);
/**
 * Longer than clients' own timers (5 s is usual): some start theirs anew with every
 * datagram, old ones too, and say their lost ACK again only when we keep still. A
 * timeout the client asked for is stretched for the same reason.
 */
const maxTimeout = milliseconds(8000);
/** Of a client that has never answered: 1 + 2 + 4 + 8 + 8 s. */
const maxUnheardRepeats = 4;
/** As long as a Raspberry Pi waits for a file. */
const giveUpAfter = milliseconds(30_000);
/** An early resend needs as many windows without one before it, so that repeated ACKs cannot feed on each other. */
const windowsBetweenRestarts = 8;

/** `acknowledged` and `sent` count blocks from 1; 0: none. */
export interface Transfer {
  readonly plan: TransferPlan;
  readonly phase: "negotiating" | "sending" | "finished";
  readonly acknowledged: number;
  readonly sent: number;
  /** The client has answered at least once: its address is its own. */
  readonly heard: boolean;
  /** Times the same datagrams were sent again without an answer. */
  readonly repeats: number;
  /** Monotonic milliseconds of the last step forward. */
  readonly progressAt: number;
  /** When the datagrams now in flight left; each of them for the first time if `fresh`. */
  readonly sentAt: number;
  readonly fresh: boolean;
  /** Windows acknowledged since a repeated ACK last made one leave again. */
  readonly windowsSinceRestart: number;
  /** Milliseconds; both 0 before the first measurement. */
  readonly roundTrip: number;
  readonly variation: number;
  /** Set when finished. */
  readonly outcome?: "sent" | "aborted";
}

/** `at`: monotonic milliseconds. */
export type TransferEvent =
  | { readonly kind: "ack"; readonly block: number; readonly at: number }
  | { readonly kind: "timeout"; readonly at: number }
  /** The client ends it: usual after a size probe (tsize 0). */
  | { readonly kind: "error" };

export type Sending =
  | { readonly kind: "nothing" }
  | { readonly kind: "option-ack" }
  /** DATA; blocks count from 1 without limit. */
  | { readonly kind: "blocks"; readonly first: number; readonly count: number };

export interface Step {
  readonly transfer: Transfer;
  readonly send: Sending;
  /** From `at`, until the `timeout` event is due; absent: the running timer goes on, or all is over. */
  readonly wait?: number;
}

const nothing: Sending = { kind: "nothing" };
const optionAck: Sending = { kind: "option-ack" };

export function startTransfer(plan: TransferPlan, at: number): Step {
  const begun: Transfer = {
    plan,
    phase: plan.granted.length === 0 ? "sending" : "negotiating",
    acknowledged: 0,
    sent: 0,
    heard: false,
    repeats: 0,
    progressAt: at,
    sentAt: at,
    fresh: true,
    windowsSinceRestart: windowsBetweenRestarts,
    roundTrip: 0,
    variation: 0,
  };
  if (begun.phase === "sending") return sendWindow(begun, at);
  return { transfer: begun, send: optionAck, wait: patience(begun) };
}

/** Advances the transfer; a finished one stays as it is and sends nothing. */
export function advance(transfer: Transfer, event: TransferEvent): Step {
  if (transfer.phase === "finished") return { transfer, send: nothing };
  switch (event.kind) {
    case "ack":
      return acknowledge(transfer, event.block, event.at);
    case "timeout":
      return repeat(transfer, event.at);
    case "error":
      return finish(transfer, "aborted");
    default:
      return unreachable(event);
  }
}

/** Octets of the file the client has acknowledged. */
export function acknowledgedBytes({ acknowledged, plan }: Transfer): number {
  return Math.min(acknowledged * plan.blockBytes, plan.sizeBytes);
}

/** Every block has left at least once. */
export function isInTail(transfer: Transfer): boolean {
  return transfer.sent === lastBlock(transfer.plan);
}

function acknowledge(transfer: Transfer, block: number, at: number): Step {
  if (transfer.phase === "negotiating") {
    if (block !== 0) return { transfer, send: nothing };
    return sendWindow({ ...timed(transfer, at), phase: "sending" }, at);
  }
  const ahead = (block - transfer.acknowledged) & 0xffff;
  if (ahead === 0) return restart(transfer, at);
  const inFlight = transfer.sent - transfer.acknowledged;
  if (ahead > inFlight) return { transfer, send: nothing }; // old, or never sent
  const acknowledged = transfer.acknowledged + ahead;
  // A part of a window does not time a round trip: it may be the ACK of an earlier one.
  const next = ahead === inFlight ? timed(transfer, at) : heard(transfer, at);
  if (acknowledged === lastBlock(transfer.plan)) {
    return finish({ ...next, acknowledged }, "sent");
  }
  const windowsSinceRestart = transfer.windowsSinceRestart + 1;
  return sendWindow({ ...next, acknowledged, windowsSinceRestart }, at); // from the first block the client lacks (RFC 7440 §4)
}

/** The client has spoken: the back-off ends. */
function heard(transfer: Transfer, at: number): Transfer {
  return { ...transfer, heard: true, repeats: 0, progressAt: at };
}

/** RFC 6298 §2, with the usual gains. */
function timed(transfer: Transfer, at: number): Transfer {
  if (!transfer.fresh) return heard(transfer, at);
  const sample = Math.max(0.01, at - transfer.sentAt);
  const first = transfer.roundTrip === 0;
  const error = Math.abs(transfer.roundTrip - sample);
  return {
    ...transfer,
    heard: true,
    repeats: 0,
    progressAt: at,
    roundTrip: first ? sample : transfer.roundTrip * 0.875 + sample * 0.125,
    variation: first ? sample / 2 : transfer.variation * 0.75 + error * 0.25,
  };
}

/**
 * An ACK said twice. In a window it can mean that its first block was lost
 * (RFC 7440 §4); one that came sooner than the window can have arrived is only
 * a duplicate. While our timer backs off it is the client's timer that speaks.
 */
function restart(transfer: Transfer, at: number): Step {
  const { sent, acknowledged, windowsSinceRestart, roundTrip, sentAt, repeats } = transfer;
  if (repeats > 0 && at - sentAt >= minTimeout) return sendWindow(transfer, at);
  const tooEarly = roundTrip === 0 || at - sentAt < roundTrip / 2;
  const allowed = windowsSinceRestart >= windowsBetweenRestarts && !tooEarly;
  if (sent - acknowledged < 2 || !allowed) return { transfer, send: nothing };
  return sendWindow({ ...heard(transfer, transfer.progressAt), windowsSinceRestart: 0 }, at);
}

function repeat(transfer: Transfer, at: number): Step {
  if (isHopeless(transfer, at)) return finish(transfer, "aborted");
  const again = { ...transfer, repeats: transfer.repeats + 1, fresh: false };
  if (transfer.phase === "sending") return sendWindow(again, at);
  return { transfer: again, send: optionAck, wait: patience(again) };
}

function isHopeless(transfer: Transfer, at: number): boolean {
  if (transfer.repeats < maxUnheardRepeats) return false;
  if (!transfer.heard) return true;
  return at - transfer.progressAt >= giveUpAfter;
}

function sendWindow(transfer: Transfer, at: number): Step {
  const { plan, acknowledged } = transfer;
  const sent = Math.min(acknowledged + plan.windowBlocks, lastBlock(plan));
  const fresh = transfer.sent <= acknowledged && transfer.repeats === 0;
  return {
    transfer: { ...transfer, sent, fresh, sentAt: at },
    send: { kind: "blocks", first: acknowledged + 1, count: sent - acknowledged },
    wait: patience(transfer),
  };
}

function finish(transfer: Transfer, outcome: "sent" | "aborted"): Step {
  return { transfer: { ...transfer, phase: "finished", outcome }, send: nothing };
}

function patience({ plan, repeats, roundTrip, variation }: Transfer): number {
  const adapted = roundTrip === 0 ? firstTimeout : Math.max(minTimeout, roundTrip + 4 * variation);
  const one = plan.timeout ?? adapted;
  return Math.min(one * 2 ** repeats, Math.max(one, maxTimeout));
}
