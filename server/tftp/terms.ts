/**
 * The terms of a transfer: what a request's options ask for and what is granted
 * (RFC 2347, 2348, 2349, 7440). Pure.
 *
 * An option that is not known, out of its range, or no number is left out of the
 * answer, as if it had not been asked for. One that is repeated counts once, with
 * its first value (RFC 2347: "may only be specified once").
 */

import { type Milliseconds, milliseconds } from "#protocol/brand.ts";
import type { TftpOptions, TftpRequest } from "./codec.ts";

const defaultBlockBytes = 512; // RFC 1350
const minBlockBytes = 8; // RFC 2348
const maxBlockBytes = 65464; // RFC 2348
const datagramHeaders = 32; // 20 (IPv4) + 8 (UDP) + 4 (TFTP DATA)
const maxWindowBlocks = 65535; // RFC 7440
/** Octets of one window: less than a socket's default send buffer (212,992). */
const maxWindowBytes = 128 * 1024;
/** More datagrams at once are a flood, however small. */
const maxWindowGranted = 512;
/** Seconds. RFC 2349 allows 255; a silent peer would then hold its place for 20 minutes. */
const maxTimeoutSeconds = 8;

export interface TransferPlan {
  /** As sent: netascii is translated already. */
  readonly sizeBytes: number;
  readonly blockBytes: number;
  /** Blocks sent before an ACK is awaited (RFC 7440). */
  readonly windowBlocks: number;
  /** Options granted; empty: no OACK, DATA 1 is the first answer. */
  readonly granted: TftpOptions;
  /** Asked for by the client (RFC 2349), and then not adapted to its round trips. */
  readonly timeout?: Milliseconds;
}

/**
 * @param sizeBytes - of the file in the form of the request's mode
 * @param largestDatagram - octets with IPv4 header; blksize is cut so that a DATA packet fits
 */
export function planTransfer(
  request: Pick<TftpRequest, "options">,
  sizeBytes: number,
  largestDatagram: number,
): TransferPlan {
  const granted: (readonly [string, string])[] = [];
  const asked = firstOfEach(request.options);
  const grant = (name: string, min: number, max: number, most: number): number | undefined => {
    const value = wholeNumber(asked.get(name));
    if (value === undefined || value < min || value > max) return undefined;
    const given = Math.min(value, most);
    granted.push([name, String(given)]);
    return given;
  };
  const fitting = Math.max(minBlockBytes, largestDatagram - datagramHeaders);
  const blockBytes = grant("blksize", minBlockBytes, maxBlockBytes, fitting) ?? defaultBlockBytes;
  const timeoutSeconds = grant("timeout", 1, maxTimeoutSeconds, maxTimeoutSeconds);
  const room = Math.min(maxWindowGranted, Math.max(1, Math.floor(maxWindowBytes / blockBytes)));
  const windowBlocks = grant("windowsize", 1, maxWindowBlocks, room) ?? 1;
  if (wholeNumber(asked.get("tsize")) !== undefined) granted.push(["tsize", String(sizeBytes)]);
  return {
    sizeBytes,
    blockBytes,
    windowBlocks,
    granted,
    ...(timeoutSeconds !== undefined && { timeout: milliseconds(timeoutSeconds * 1000) }),
  };
}

/** Octets of the IPv4 datagram of a full block. */
export function datagramOctets(plan: TransferPlan): number {
  return plan.blockBytes + datagramHeaders;
}

/** The last block is shorter than the others, empty when the size is a multiple of the block. */
export function lastBlock(plan: TransferPlan): number {
  return Math.floor(plan.sizeBytes / plan.blockBytes) + 1;
}

function firstOfEach(options: TftpOptions): ReadonlyMap<string, string> {
  return new Map([...options].reverse());
}

function wholeNumber(value: string | undefined): number | undefined {
  return value !== undefined && /^\d{1,10}$/.test(value) ? Number(value) : undefined;
}
