/**
 * DHCP: our server against Kea with its lease file, once with the threads and queue its manual
 * recommends, once with the longer queue that was fastest here; the same load generator
 * (perfdhcp), the same subnet, pool and reservations, each started with no leases.
 *
 *   metric                better  what it is
 *   DORA/s saturated      more    complete DISCOVER-OFFER-REQUEST-ACK exchanges a second, the most seen
 *                                 while they are begun at 4000, 8000, 12,000 ... 32,000 a second; all clients new
 *   DORA latency 200/s    less    ms a client waits for OFFER and ACK together, at 200 exchanges a second; median
 *   DORA mean 200/s       less    the same, mean
 *   DORA p99 200/s        less    the same, 99th percentile
 *   cpu per DORA 200/s    less    CPU microseconds of the server's control group for one exchange at that rate
 *   ... 200/s known       less    the same four for clients that have a reservation, as a rack's nodes have
 *
 * Every exchange of a new client makes a new lease. Ours is on stable storage (fsync) before the
 * client is told; Kea writes its file without waiting for the disk. A reservation needs no write
 * here; Kea writes the lease of one too. perfdhcp acts as a relay agent, so our configuration
 * names that one; Kea takes any.
 */

import { join } from "node:path";
import { writeBootFile } from "./content.ts";
import { knownClients, knownRun } from "./known-clients.ts";
import { marcoboot } from "./ours.ts";
import { kea, npmPackage } from "./peers.ts";
import { exchange } from "./perfdhcp.ts";
import { type BenchContext, compare, isWanted, type Trial } from "./rounds.ts";
import type { Metric, Row } from "./rows.ts";

const saturated: Metric = { name: "DORA/s saturated", unit: "1/s", better: "more" };
const steadily = (clients: string) => ({
  latency: { name: `DORA latency 200/s${clients}`, unit: "ms", better: "less" } as const,
  mean: { name: `DORA mean 200/s${clients}`, unit: "ms", better: "less" } as const,
  p99: { name: `DORA p99 200/s${clients}`, unit: "ms", better: "less" } as const,
  cpu: { name: `cpu per DORA 200/s${clients}`, unit: "µs", better: "less" } as const,
});
const ofNew = steadily("");
const ofKnown = steadily(" known");

const steadyRate = 200;
/** Below what either can do, to more than any. All are tried: one bad run may be the machine's other work. */
const saturatingRates = [4000, 8000, 12_000, 16_000, 24_000, 32_000];
const saturatingSeconds = 3;

export async function benchDhcp(context: BenchContext): Promise<readonly Row[]> {
  const content = writeBootFile(join(context.arena.directory, "files"));
  const baselines =
    context.baselines === undefined ? [] : [npmPackage("dhcp", context.baselines, content)];
  const ours = marcoboot(content, context.checkout);
  const peers = [kea("recommended"), kea("long queue"), ...baselines];
  return await compare(context, ours, peers, async (trial) => {
    const run = newRun();
    // Warm-up: a program that compiles while it runs is not measured while it does.
    await exchange(context.arena, { rate: steadyRate * 2, seconds: 2, run: run() });
    if (Object.values(ofNew).some(({ name }) => isWanted(context, name))) {
      await steady(context, trial, ofNew, { run: run() });
    }
    if (Object.values(ofKnown).some(({ name }) => isWanted(context, name))) {
      const who = { run: knownRun, clients: knownClients };
      await exchange(context.arena, { rate: steadyRate * 2, seconds: 2, ...who });
      await steady(context, trial, ofKnown, who);
    }
    if (isWanted(context, saturated.name)) await saturate(context, trial, run);
  });
}

async function steady(
  { arena, seconds }: BenchContext,
  trial: Trial,
  metrics: ReturnType<typeof steadily>,
  who: { readonly run: number; readonly clients?: number },
): Promise<void> {
  const before = trial.running.cpuSeconds();
  const seen = await exchange(arena, { rate: steadyRate, seconds, ...who });
  const used = trial.running.cpuSeconds() - before;
  trial.record(metrics.latency, seen.medianMs);
  trial.record(metrics.mean, seen.meanMs);
  trial.record(metrics.p99, seen.p99Ms);
  trial.record(metrics.cpu, (used * 1e6) / seen.complete);
}

async function saturate(
  { arena, seconds, say }: BenchContext,
  trial: Trial,
  run: () => number,
): Promise<void> {
  let best = 0;
  for (const rate of saturatingRates) {
    const duration = Math.min(seconds, saturatingSeconds);
    const seen = await exchange(arena, { rate, seconds: duration, run: run() });
    best = Math.max(best, seen.completePerSecond);
    say(`    at ${rate}/s: ${Math.round(seen.completePerSecond)} complete exchanges a second`);
  }
  trial.record(saturated, best);
}

/** Other clients in each run, and the same for every contender. */
function newRun(): () => number {
  let last = 0;
  return () => {
    last += 1;
    return last;
  };
}
