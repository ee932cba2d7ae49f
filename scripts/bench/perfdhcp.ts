/** Kea's own load generator, perfdhcp: it speaks as a relay agent for many clients, each new to the server. */

import type { Arena } from "./arena.ts";
import { serverAddress } from "./arena.ts";

/** One run at a fixed rate. */
export interface Exchanges {
  readonly sent: number;
  /** DISCOVER, OFFER, REQUEST and ACK all arrived. */
  readonly complete: number;
  readonly completePerSecond: number;
  /** Milliseconds a client waits for the OFFER and for the ACK, added up. */
  readonly medianMs: number;
  readonly meanMs: number;
  readonly p99Ms: number;
}

/** Clients differ by MAC address, counted up from the run's first: so many, and every exchange makes a new lease. */
const newClients = 150_000;
/** Late answers are waited for after the last DISCOVER, and count. */
const waitMicroseconds = 500_000;
const exitCodes = { done: 0, someUnanswered: 3 } as const;

/**
 * perfdhcp sends and receives in one thread here: with its usual two it takes the server's
 * processor too, on a machine that has two (marcoboot 11,000 exchanges/s with two, 15,400 with one;
 * Kea 11,500 and 11,000).
 *
 * @param run - 0-255: same number, same clients in the same order; perfdhcp's own seed changes nothing in them
 */
export async function exchange(
  arena: Arena,
  {
    rate,
    seconds,
    run,
    clients = newClients,
  }: {
    readonly rate: number;
    readonly seconds: number;
    readonly run: number;
    readonly clients?: number;
  },
): Promise<Exchanges> {
  const output = await arena.load(
    "perfdhcp",
    [
      ...["-4", "-g", "single", "-l", "eth0", "-r", String(rate), "-p", String(seconds)],
      ...["-R", String(clients), "-b", `mac=02:${hexadecimal(run)}:00:00:00:00`],
      ...["-W", String(waitMicroseconds), "-x", "t", serverAddress],
    ],
    Object.values(exitCodes),
  );
  return readReport(output, seconds);
}

function hexadecimal(octet: number): string {
  return octet.toString(16).padStart(2, "0");
}

/** @throws Error when the report is not one */
export function readReport(output: string, seconds: number): Exchanges {
  const counts = (what: string) =>
    [...output.matchAll(new RegExp(`^${what}: (\\d+)$`, "gm"))].map(([, value]) => Number(value));
  const [sent] = counts("sent packets");
  const [, complete] = counts("received packets");
  if (sent === undefined || complete === undefined) {
    throw new Error(`perfdhcp said: ${output.slice(0, 400)}`);
  }
  if (complete === 0) throw new Error(`not one of ${sent} exchanges was completed`);
  const [offers, acks] = ["DISCOVER-OFFER", "REQUEST-ACK"].map((kind) => delays(output, kind));
  const both = (share: number) => quantile(offers ?? [], share) + quantile(acks ?? [], share);
  return {
    sent,
    complete,
    completePerSecond: complete / seconds,
    medianMs: both(0.5),
    meanMs: mean(offers ?? []) + mean(acks ?? []),
    p99Ms: both(0.99),
  };
}

/** Milliseconds between each packet and its answer. */
function delays(output: string, kind: string): readonly number[] {
  const [, rest = ""] = output.split(`***Timestamps for packets: ${kind}***\n`);
  const [table = ""] = rest.split("\n\n");
  return [...table.matchAll(/^sent \/ received: (?<sent>[\d.]+) \/ (?<received>[\d.]+)$/gm)].map(
    ({ groups }) => (Number(groups?.["received"]) - Number(groups?.["sent"])) * 1000,
  );
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
