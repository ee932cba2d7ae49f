/**
 * Who may be switched on when. Power supplies draw a multiple of their current in
 * the first tenths of a second, and a rack of boards that boot together loses
 * some of them to time limits of their firmware: so at most `atOnce` nodes are
 * switched on within any period of `every`, in the order they were asked for.
 *
 * A turn is a moment, not a lock: hardware that hangs delays nobody behind it.
 */

import { type Milliseconds, milliseconds } from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";

export interface Sequencer {
  /** Resolves when `nodes` may be switched on. More than `atOnce` behind one outlet count as that many. */
  turn(nodes: number): Promise<void>;
}

export interface SequencerOptions {
  readonly atOnce: number;
  readonly every: Milliseconds;
  readonly clock: Pick<Clock, "monotonic" | "sleep">;
}

interface Grant {
  readonly at: number;
  readonly nodes: number;
}

export function createSequencer({ atOnce, every, clock }: SequencerOptions): Sequencer {
  let recent: readonly Grant[] = [];
  let last: Promise<void> = Promise.resolve();

  const wait = async (nodes: number): Promise<void> => {
    for (;;) {
      const now = clock.monotonic();
      recent = recent.filter(({ at }) => at + every > now);
      const [oldest] = recent;
      if (!oldest || recent.reduce((sum, one) => sum + one.nodes, nodes) <= atOnce) {
        recent = [...recent, { at: now, nodes }];
        return;
      }
      await clock.sleep(milliseconds(oldest.at + every - now));
    }
  };

  return {
    turn(nodes) {
      const counted = Math.min(nodes, atOnce);
      last = last.then(() => wait(counted));
      return last;
    },
  };
}

/** Lets `limit` pieces of work run at once for each key, the rest in the order they came. */
export interface Gate {
  pass<T>(key: string, work: () => Promise<T>): Promise<T>;
}

interface Line {
  running: number;
  readonly waiting: (() => void)[];
}

export function createGate(limit: number): Gate {
  const lines = new Map<string, Line>();
  return {
    async pass(key, work) {
      const line = lines.get(key) ?? { running: 0, waiting: [] };
      lines.set(key, line);
      if (line.running >= limit) {
        await new Promise<void>((resolve) => line.waiting.push(resolve)); // takes over a place
      } else {
        line.running += 1;
      }
      try {
        return await work();
      } finally {
        const next = line.waiting.shift();
        if (next) next();
        else line.running -= 1;
        if (line.running === 0) lines.delete(key);
      }
    },
  };
}
