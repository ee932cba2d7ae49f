/** The only file that reads the time or sets a timer. Tests pass a clock of their own. */

import { readFileSync } from "node:fs";
import { uptime } from "node:os";
import { type Instant, instant, type Milliseconds, milliseconds } from "#protocol/brand.ts";

export interface Clock {
  /** Wall clock: for records people read. */
  now(): Instant;
  /** Milliseconds that never jump: for durations. */
  monotonic(): Milliseconds;
  /** Resolves after `duration`, or at once when `signal` aborts. Never rejects. */
  sleep(duration: Milliseconds, signal?: AbortSignal): Promise<void>;
  /** Calls `work` every `period`; the returned function ends that. Does not keep the process alive. */
  every(period: Milliseconds, work: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => instant(Date.now()),
  monotonic: () => performance.now() as Milliseconds,
  sleep: (duration, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, duration);
      signal?.addEventListener("abort", done, { once: true });
    }),
  every: (period, work) => {
    const timer = setInterval(() => {
      try {
        work();
      } catch (error) {
        // A full disk must not end the server; the next period tries again.
        process.emitWarning(error instanceof Error ? error : String(error));
      }
    }, period);
    timer.unref();
    return () => clearInterval(timer);
  },
};

/**
 * A clock that begins at the time of day and then only counts: whoever sets the machine's clock
 * meanwhile, as its first answer of a time server does where there is no RTC, ends nothing early.
 */
export function steadyClock(clock: Clock): Clock {
  const ahead = clock.now() - clock.monotonic();
  return { ...clock, now: () => instant(Math.round(ahead + clock.monotonic())) };
}

/** How often {@link wakingClock} looks, and how much longer than that is no mere haste. */
const pulse = milliseconds(1000);
const standstill = milliseconds(10_000);

/**
 * A clock whose durations leave out what the process stood still: it was stopped, its virtual machine
 * was, or something held its event loop. Whoever was not heard meanwhile has not been silent.
 *
 * @param onStandstill - told how long it was
 * @returns `end` to be called when nobody asks it any more
 */
export function wakingClock(
  clock: Clock,
  onStandstill: (duration: Milliseconds) => void,
): { readonly clock: Clock; end(): void } {
  let last = clock.monotonic();
  let lost = 0;
  const monotonic = (): Milliseconds => {
    const now = clock.monotonic();
    const gap = now - last;
    last = now;
    if (gap > standstill) {
      lost += gap;
      onStandstill(gap as Milliseconds);
    }
    return (now - lost) as Milliseconds;
  };
  return { clock: { ...clock, monotonic }, end: clock.every(pulse, monotonic) };
}

/** A clock that can be held: meanwhile it counts nothing, and who asks it again and again is slowed down. */
export interface HoldableClock extends Clock {
  hold(): void;
  release(): void;
}

export function holdableClock(clock: Clock): HoldableClock {
  let heldAt: Milliseconds | undefined;
  let lost = 0;
  return {
    ...clock,
    monotonic: () => ((heldAt ?? clock.monotonic()) - lost) as Milliseconds,
    sleep: (duration, signal) =>
      clock.sleep(heldAt === undefined || duration > pulse ? duration : pulse, signal),
    hold() {
      heldAt ??= clock.monotonic();
    },
    release() {
      if (heldAt === undefined) return;
      lost += clock.monotonic() - heldAt;
      heldAt = undefined;
    },
  };
}

/** Sleeps until the clock has counted `duration`, or `signal` aborts: after a standstill a timer is due too early. Never rejects. */
export async function sleepOut(
  clock: Pick<Clock, "monotonic" | "sleep">,
  duration: Milliseconds,
  signal?: AbortSignal,
): Promise<void> {
  const end = clock.monotonic() + duration;
  for (let left = duration; left > 0 && !signal?.aborted; ) {
    await clock.sleep(left, signal);
    left = (end - clock.monotonic()) as Milliseconds;
  }
}

/** A boot of this machine. */
export interface MachineBoot {
  /** The kernel's name for it. */
  readonly id: string;
  /** When it began, by a clock that may be wrong: of two processes of one boot it tells how far their clocks differ. */
  readonly began: Instant;
}

export function presentBoot(clock: Pick<Clock, "now">): MachineBoot {
  const id = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  return { id, began: instant(Math.round(clock.now() - uptime() * 1000)) };
}
