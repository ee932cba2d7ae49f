/** A server that can be made to stand still: time goes on, and afterwards every timer is due at once. */

import type { Milliseconds } from "#protocol/brand.ts";
import { wakingClock } from "../../server/clock.ts";
import { type ManualClock, manualClock, settle } from "./manual-clock.ts";

export interface Stoppable {
  readonly clock: ManualClock;
  /** How long it stood still, each time. */
  readonly told: readonly number[];
  standStill(duration: number): Promise<void>;
  end(): void;
}

export function stoppable(): Stoppable {
  const real = manualClock();
  let stood = 0;
  let rouse = new AbortController();
  const stopped = {
    ...real,
    monotonic: () => (real.monotonic() + stood) as Milliseconds,
    sleep: (duration: Milliseconds, signal?: AbortSignal) =>
      real.sleep(duration, AbortSignal.any([rouse.signal, ...(signal ? [signal] : [])])),
  };
  const told: number[] = [];
  const { clock, end } = wakingClock(stopped, (duration) => void told.push(duration));
  return {
    clock: { ...clock, advance: real.advance },
    told,
    end,
    async standStill(duration) {
      stood += duration;
      const due = rouse;
      rouse = new AbortController();
      due.abort();
      await settle();
    },
  };
}
