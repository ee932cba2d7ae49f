/**
 * Ours and the peers in turn: round by round, each started anew with an empty state,
 * so that what the machine does meanwhile hits all alike. Medians over the rounds.
 */

import { join } from "node:path";
import type { Cleanup } from "../lab/cleanup.ts";
import { type Arena, firstClient } from "./arena.ts";
import { type Contender, type RunningContender, startContender } from "./contender.ts";
import { type Metric, type Row, rowsOf, significant } from "./rows.ts";

export interface BenchContext {
  readonly arena: Arena;
  readonly cleanup: Cleanup;
  readonly rounds: number;
  /** How long one measurement lasts. */
  readonly seconds: number;
  /** Of our server. */
  readonly checkout: string;
  /** Where npm packages were installed that are compared too. */
  readonly baselines: string | undefined;
  /** Metrics to measure by the beginning of their name; undefined: all. */
  readonly only: string | undefined;
  /** Progress. */
  say(line: string): void;
}

export interface Trial {
  readonly contender: Contender;
  readonly running: RunningContender;
  /** Notes one value; the metric's name may hold what was varied. */
  record(metric: Metric, value: number): void;
}

/**
 * Gives the first `count` clients their leases where the server asks for that (ours serves
 * boot files to nobody else), and makes all of them answer ARP.
 */
export async function admitClients({ arena }: BenchContext, count: number): Promise<void> {
  if (count > 0) {
    const program = join(import.meta.dirname, "leases.ts");
    await arena.load(process.execPath, [program, firstClient, String(count)]);
  }
  arena.answerArp(true);
}

export function isWanted({ only }: BenchContext, name: string): boolean {
  return only === undefined || name.startsWith(only);
}

/**
 * @param ours - compared with each of `peers`
 * @param measure - all measurements of one contender in one round
 */
export async function compare(
  context: BenchContext,
  ours: Contender,
  peers: readonly Contender[],
  measure: (trial: Trial) => Promise<void>,
): Promise<readonly Row[]> {
  const { arena, cleanup, rounds, say } = context;
  const contenders = [ours, ...peers];
  const samples = new Map(contenders.map((one) => [one.name, new Map<Metric, number[]>()]));
  for (let round = 1; round <= rounds; round++) {
    // A-B-A-B, and B-A in every other round: nobody is always first.
    for (const contender of round % 2 === 1 ? contenders : contenders.toReversed()) {
      arena.answerArp(false);
      const running = await startContender(contender, arena, cleanup);
      const own = samples.get(contender.name);
      say(`round ${round}: ${contender.name} started`);
      try {
        await measure({
          contender,
          running,
          record(metric, value) {
            say(
              `round ${round}: ${contender.name}: ${metric.name} ${significant(value)} ${metric.unit}`,
            );
            own?.set(metric, [...(own.get(metric) ?? []), value]);
          },
        });
      } catch (error) {
        if (!contender.isFragile) throw error;
        say(`round ${round}: ${contender.name} did not survive: ${String(error).split("\n")[0]}`);
      } finally {
        await running.stop();
      }
    }
  }
  const all = new Map(samples);
  const own = all.get(ours.name) ?? new Map();
  all.delete(ours.name);
  return rowsOf(own, all);
}
