/**
 * DHCP: our server against Kea with its lease file; the same load generator (perfdhcp),
 * the same subnet and pool, each started with no leases.
 *
 *   metric                better  what it is
 *   DORA/s saturated      more    complete DISCOVER-OFFER-REQUEST-ACK exchanges a second, the most
 *                                 seen while the rate is raised until twice fewer than 9 of 10 complete
 *   DORA latency 200/s    less    ms a client waits for OFFER and ACK together, at 200 exchanges a second; median
 *   DORA p99 200/s        less    the same, 99th percentile
 *   cpu per DORA 200/s    less    CPU microseconds of the server's control group for one exchange at that rate
 *
 * Nearly every exchange makes a new lease. Ours is on stable storage (fsync) before the
 * client is told; Kea writes its file without waiting for the disk. perfdhcp acts as a
 * relay agent, so our configuration names that one; Kea takes any.
 */

import { join } from "node:path";
import { writeBootFile } from "./content.ts";
import { marcoboot } from "./ours.ts";
import { kea, npmPackage } from "./peers.ts";
import { exchange } from "./perfdhcp.ts";
import { type BenchContext, compare, isWanted, type Trial } from "./rounds.ts";
import type { Metric, Row } from "./rows.ts";

const saturated: Metric = { name: "DORA/s saturated", unit: "1/s", better: "more" };
const latency: Metric = { name: "DORA latency 200/s", unit: "ms", better: "less" };
const p99: Metric = { name: "DORA p99 200/s", unit: "ms", better: "less" };
const cpu: Metric = { name: "cpu per DORA 200/s", unit: "µs", better: "less" };

const steadyRate = 200;
const firstRate = 1000;
const rateStep = 1.5;
const highestRate = 60_000;
const enoughComplete = 0.9;

export async function benchDhcp(context: BenchContext): Promise<readonly Row[]> {
  const content = writeBootFile(join(context.arena.directory, "files"));
  const baselines =
    context.baselines === undefined ? [] : [npmPackage("dhcp", context.baselines, content)];
  const ours = marcoboot(content, context.checkout);
  return await compare(context, ours, [kea(), ...baselines], async (trial) => {
    const seed = newSeed();
    // Warm-up: a program that compiles while it runs is not measured while it does.
    await exchange(context.arena, { rate: steadyRate * 2, seconds: 2, seed: seed() });
    if ([latency, p99, cpu].some(({ name }) => isWanted(context, name))) {
      await steady(context, trial, seed());
    }
    if (isWanted(context, saturated.name)) await saturate(context, trial, seed);
  });
}

async function steady({ arena, seconds }: BenchContext, trial: Trial, seed: number): Promise<void> {
  const before = trial.running.cpuSeconds();
  const seen = await exchange(arena, { rate: steadyRate, seconds, seed });
  const used = trial.running.cpuSeconds() - before;
  trial.record(latency, seen.medianMs);
  trial.record(p99, seen.p99Ms);
  trial.record(cpu, (used * 1e6) / seen.complete);
}

async function saturate(
  { arena, seconds, say }: BenchContext,
  trial: Trial,
  seed: () => number,
): Promise<void> {
  let best = 0;
  let short = 0;
  // One bad run may be the machine's other work: the rate is tried again before it counts.
  for (let rate = firstRate; rate < highestRate && short < 2; ) {
    const seen = await exchange(arena, { rate, seconds: Math.min(seconds, 3), seed: seed() });
    best = Math.max(best, seen.completePerSecond);
    say(`    at ${rate}/s: ${Math.round(seen.completePerSecond)} complete exchanges a second`);
    short = seen.completePerSecond < rate * enoughComplete ? short + 1 : 0;
    if (short === 0) rate = Math.round(rate * rateStep);
  }
  trial.record(saturated, best);
}

/** Other clients in each run, and the same for every contender. */
function newSeed(): () => number {
  let last = 0;
  return () => {
    last += 1;
    return last;
  };
}
