/** What happened to simulated boards, counted by the attempt that had it happen. */

import type { Attempt } from "#protocol/job.ts";
import type { BoardMoment } from "./simulated-board.ts";

/** An attempt and the MAC address of the node it was for. */
export interface AttemptOn extends Attempt {
  readonly mac: string;
}

export interface EffectCount {
  readonly attempt: string;
  readonly what: string;
  readonly count: number;
}

export interface Effects {
  note(moment: BoardMoment): void;
  /** Of each attempt and each kind of effect, how often it was had. */
  counted(attempts: readonly AttemptOn[]): readonly EffectCount[];
}

/** Power cycles, and resets that the server ordered of the one or the other system. */
const kinds: ReadonlySet<BoardMoment["what"]> = new Set([
  "power-on",
  "reset of netinst",
  "reset of the installed system",
  "shutdown",
]);

export function createEffects(): Effects {
  const moments: BoardMoment[] = [];
  return {
    note: (moment) => void moments.push(moment),
    counted(attempts) {
      const counts = new Map<string, EffectCount>();
      for (const { board, at, what } of moments) {
        if (!kinds.has(what)) continue;
        const cause = attempts.find(
          ({ mac, startedAt, endedAt = Number.POSITIVE_INFINITY }) =>
            mac === board.mac && startedAt <= at && at <= endedAt,
        );
        if (!cause) continue; // learning, or a person
        const attempt = `${cause.epoch} of ${cause.taskId}`;
        const { count = 0 } = counts.get(`${attempt} ${what}`) ?? {};
        counts.set(`${attempt} ${what}`, { attempt, what, count: count + 1 });
      }
      return [...counts.values()];
    },
  };
}
