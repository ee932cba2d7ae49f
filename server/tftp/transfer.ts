/**
 * One TFTP read transfer, from the first answer to the last ACK, as a pure
 * state machine: (state, event) -> (state, datagrams to send, time to wait).
 * No socket, no timer: server.ts has both.
 *
 *   start --OACK--> negotiating --ACK 0--> sending --ACK of the last block--> finished
 *     `--(no option granted)----------------^
 *
 * Blocks count from 1 without limit here and modulo 65536 on the wire, so a
 * file may have more than 65535 blocks (for a client that lets its counter roll
 * over). A repeated ACK never causes a datagram: with two copies of every block
 * in flight the network would carry both for ever (the Sorcerer's Apprentice,
 * RFC 1123 §4.2.3.1); only the timer sends again.
 */

import { type Milliseconds, milliseconds, unreachable } from "#protocol/brand.ts";
import { encodeData, encodePacket, type TftpOptions, type TftpRequest } from "./codec.ts";

const defaultBlockBytes = 512; // RFC 1350
const minBlockBytes = 8; // RFC 2348
const maxBlockBytes = 65464; // RFC 2348
const datagramHeaders = 32; // 20 (IPv4) + 8 (UDP) + 4 (TFTP DATA)
/** Octets of one window: less than a socket's default send buffer (212,992). */
const maxWindowBytes = 128 * 1024;
const firstTimeout = milliseconds(1000);
const maxTimeout = milliseconds(8000);
/** 1 + 2 + 4 + 8 + 8 + 8 s: longer than a Raspberry Pi waits for a file (30 s). */
const maxRepeats = 5;

export interface TransferPlan {
  /** As sent: netascii is translated already. */
  readonly content: Uint8Array;
  readonly blockBytes: number;
  /** Blocks sent before an ACK is awaited (RFC 7440). */
  readonly windowBlocks: number;
  /** Options granted; empty: no OACK, DATA 1 is the first answer. */
  readonly granted: TftpOptions;
  readonly timeout: Milliseconds;
  /** A timeout the client asked for stays as it is; ours doubles up to 8 s. */
  readonly fixedTimeout: boolean;
}

/** `acknowledged` and `sent` count blocks from 1; 0: none. */
export interface Transfer {
  readonly plan: TransferPlan;
  readonly phase: "negotiating" | "sending" | "finished";
  readonly acknowledged: number;
  readonly sent: number;
  /** Times the same datagrams were sent again without an answer. */
  readonly repeats: number;
  /** Set when finished. */
  readonly outcome?: "sent" | "aborted";
}

export type TransferEvent =
  | { readonly kind: "ack"; readonly block: number }
  | { readonly kind: "timeout" }
  /** The client ends it: usual after a size probe (tsize 0). */
  | { readonly kind: "error" };

export interface Step {
  readonly transfer: Transfer;
  readonly send: readonly Uint8Array[];
  /** From now, until the `timeout` event is due; absent: the running timer goes on, or all is over. */
  readonly wait?: Milliseconds;
}

/** Seconds. RFC 2349 allows 255; a silent peer would then hold its place for 25 minutes. */
const maxTimeoutSeconds = 8;

/**
 * Chooses the terms of a transfer (RFC 2347: what is not understood or out of
 * range is left out of the answer, as if it had not been asked).
 *
 * @param content - the file, in the form of the request's mode
 * @param mtu - of the interface, octets; blksize is cut so that a datagram fits
 */
export function planTransfer(request: TftpRequest, content: Uint8Array, mtu: number): TransferPlan {
  const granted: (readonly [string, string])[] = [];
  const asked = new Map(request.options);
  const grant = (name: string, min: number, max: number, most: number): number | undefined => {
    const value = wholeNumber(asked.get(name));
    if (value === undefined || value < min || value > max) return undefined;
    const given = Math.min(value, most);
    granted.push([name, String(given)]);
    return given;
  };
  const fitting = Math.max(minBlockBytes, mtu - datagramHeaders);
  const blockBytes = grant("blksize", minBlockBytes, maxBlockBytes, fitting) ?? defaultBlockBytes;
  const timeoutSeconds = grant("timeout", 1, maxTimeoutSeconds, maxTimeoutSeconds); // RFC 2349 §2
  const windowBlocks =
    grant("windowsize", 1, 65535, Math.max(1, Math.floor(maxWindowBytes / blockBytes))) ?? 1;
  if (wholeNumber(asked.get("tsize")) !== undefined) {
    granted.push(["tsize", String(content.length)]);
  }
  return {
    content,
    blockBytes,
    windowBlocks,
    granted,
    timeout: timeoutSeconds === undefined ? firstTimeout : milliseconds(timeoutSeconds * 1000),
    fixedTimeout: timeoutSeconds !== undefined,
  };
}

function wholeNumber(value: string | undefined): number | undefined {
  return value !== undefined && /^\d{1,10}$/.test(value) ? Number(value) : undefined;
}

export function startTransfer(plan: TransferPlan): Step {
  const begun = { plan, acknowledged: 0, sent: 0, repeats: 0 } as const;
  if (plan.granted.length === 0) return sendWindow({ ...begun, phase: "sending" });
  return {
    transfer: { ...begun, phase: "negotiating" },
    send: [optionAck(plan)],
    wait: plan.timeout,
  };
}

/** Advances the transfer; a finished one stays as it is and sends nothing. */
export function advance(transfer: Transfer, event: TransferEvent): Step {
  if (transfer.phase === "finished") return { transfer, send: [] };
  switch (event.kind) {
    case "ack":
      return acknowledge(transfer, event.block);
    case "timeout":
      return repeat(transfer);
    case "error":
      return finish(transfer, "aborted");
    default:
      return unreachable(event);
  }
}

/** Octets of the file the client has acknowledged. */
export function acknowledgedBytes(transfer: Transfer): number {
  return Math.min(transfer.acknowledged * transfer.plan.blockBytes, transfer.plan.content.length);
}

/** The last block is shorter than the others, empty when the size is a multiple of the block. */
export function lastBlock(plan: TransferPlan): number {
  return Math.floor(plan.content.length / plan.blockBytes) + 1;
}

function acknowledge(transfer: Transfer, block: number): Step {
  if (transfer.phase === "negotiating") {
    if (block !== 0) return { transfer, send: [] };
    return sendWindow({ ...transfer, phase: "sending", repeats: 0 });
  }
  const ahead = (block - transfer.acknowledged) & 0xffff;
  if (ahead === 0) return { transfer, send: [] }; // a repeated ACK: the timer sends again, not this
  if (ahead > transfer.sent - transfer.acknowledged) return { transfer, send: [] }; // old, or never sent
  const acknowledged = transfer.acknowledged + ahead;
  const next = { ...transfer, acknowledged, repeats: 0 };
  if (acknowledged === lastBlock(transfer.plan)) return finish(next, "sent");
  return sendWindow(next); // from the first block the client lacks (RFC 7440 §4)
}

function repeat(transfer: Transfer): Step {
  if (transfer.repeats >= maxRepeats) return finish(transfer, "aborted");
  const again = { ...transfer, repeats: transfer.repeats + 1 };
  if (transfer.phase === "sending") return sendWindow(again);
  return { transfer: again, send: [optionAck(transfer.plan)], wait: patience(again) };
}

function sendWindow(transfer: Transfer): Step {
  const { plan, acknowledged } = transfer;
  const sent = Math.min(acknowledged + plan.windowBlocks, lastBlock(plan));
  const send: Uint8Array[] = [];
  for (let block = acknowledged + 1; block <= sent; block++) {
    const start = (block - 1) * plan.blockBytes;
    send.push(encodeData(block & 0xffff, plan.content.subarray(start, start + plan.blockBytes)));
  }
  return { transfer: { ...transfer, sent }, send, wait: patience(transfer) };
}

function finish(transfer: Transfer, outcome: "sent" | "aborted"): Step {
  return { transfer: { ...transfer, phase: "finished", outcome }, send: [] };
}

function patience(transfer: Transfer): Milliseconds {
  const { timeout, fixedTimeout } = transfer.plan;
  if (fixedTimeout) return timeout;
  return milliseconds(Math.min(timeout * 2 ** transfer.repeats, maxTimeout));
}

function optionAck(plan: TransferPlan): Uint8Array {
  return encodePacket({ kind: "option-ack", options: plan.granted });
}

/** Translates to netascii (RFC 764): LF becomes CR LF, a CR of its own CR NUL. */
export function toNetascii(content: Uint8Array): Uint8Array {
  const special = content.reduce((n, octet) => n + (octet === 0x0a || octet === 0x0d ? 1 : 0), 0);
  const out = new Uint8Array(content.length + special);
  let at = 0;
  for (const octet of content) {
    if (octet === 0x0a) out[at++] = 0x0d;
    out[at++] = octet;
    if (octet === 0x0d) out[at++] = 0;
  }
  return out;
}
