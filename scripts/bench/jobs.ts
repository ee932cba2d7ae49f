/**
 * Jobs: our journal, queue and runner against bare Bull, and our scheduler against
 * node-cron; one redis-server (ours, append-only file) for each round of each.
 *
 *   metric                       what it is
 *   10000 tasks stored           a job for 10,000 nodes: on disk; Bull: all entries in Redis
 *   10000 tasks dispatchable     until the queue has all of them too
 *   tasks carried out            reboots a second of nodes that obey at once: attempt, order, new boot,
 *                                result, events, each on disk; Bull: entries a second of work that is nothing
 *   time per task                the same the other way round: ours / Bull is what the bookkeeping costs
 *   cancel of 48 running tasks   until every node is told
 *   start with 100000 schedules  journal opened, what is due found; node-cron: a task of each made and begun
 *
 * `bar` is what we must reach. Nodes and agents are in the same process.
 */

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type JobMetricName, type JobValues, jobMetrics } from "./jobs-metrics.ts";
import type { BenchContext } from "./rounds.ts";
import { type Metric, type Row, rowsOf, significant } from "./rows.ts";

const contenders = ["marcoboot", "bull", "node-cron"] as const;

export async function benchJobs(context: BenchContext): Promise<readonly Row[]> {
  const { arena, rounds, say } = context;
  const samples = new Map(contenders.map((name) => [name, new Map<Metric, number[]>()]));
  for (let round = 1; round <= rounds; round++) {
    for (const name of round % 2 === 1 ? contenders : contenders.toReversed()) {
      const directory = join(arena.directory, `jobs-${name}`);
      mkdirSync(directory);
      const program = join(context.checkout, "scripts/bench/jobs-load.ts");
      const told = await arena.load(process.execPath, [program, name, directory]);
      rmSync(directory, { recursive: true });
      for (const [metric, value] of Object.entries(JSON.parse(told) as JobValues)) {
        const { name: title, unit } = jobMetrics[metric as JobMetricName];
        say(`round ${round}: ${name}: ${title} ${significant(value)} ${unit}`);
        const own = samples.get(name) ?? new Map<Metric, number[]>();
        const key: Metric = jobMetrics[metric as JobMetricName];
        own.set(key, [...(own.get(key) ?? []), value]);
      }
    }
  }
  const { marcoboot = new Map<Metric, number[]>(), ...peers } = Object.fromEntries(samples);
  const bars = new Map<Metric, number[]>(
    Object.values(jobMetrics).flatMap((metric) =>
      "bar" in metric ? [[metric, [metric.bar]]] : [],
    ),
  );
  return rowsOf(marcoboot, new Map([...Object.entries(peers), ["bar", bars]]));
}
