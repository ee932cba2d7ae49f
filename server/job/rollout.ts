/**
 * How a job goes through its nodes: canary, batches, limits, and how much may fail. Pure.
 *
 *   nodes 1 2 3 4 5 6 7 8     canary 1, batch 3
 *   batch 0 1 1 1 2 2 2 3
 */

import { type Static, Type } from "typebox";
import { type Instant, instant } from "#protocol/brand.ts";
import { isFinished, type Job, type Rollout, type Share } from "#protocol/job.ts";
import type { TaskCount } from "../store/store.ts";

const count = Type.Integer({ minimum: 1, maximum: 100_000 });
const percent = Type.Unsafe<`${number}%`>({ type: "string", pattern: "^(?:100|[1-9]?\\d)%$" });

export const rolloutSchema = Type.Object(
  {
    canary: Type.Optional(count),
    batch: Type.Optional(Type.Union([count, percent])),
    perRack: Type.Optional(count),
    perStack: Type.Optional(count),
    perOutlet: Type.Optional(count),
    failures: Type.Union([Type.Integer({ minimum: 0, maximum: 100_000 }), percent], { default: 0 }),
    settleSeconds: Type.Integer({ minimum: 0, maximum: 86_400, default: 30 }),
  },
  { additionalProperties: false },
);
export type RolloutRequest = Partial<Static<typeof rolloutSchema>>;

/** The batch of each of `total` nodes, in their order. */
export function batchesOf(rollout: Rollout, total: number): readonly number[] {
  const { canary = 0, batch = "100%" } = rollout;
  const first = Math.min(canary, total);
  const size = Math.max(1, Math.ceil(shareOf(batch, total)));
  return Array.from({ length: total }, (_, index) =>
    index < first ? 0 : Math.floor((index - first) / size) + (first > 0 ? 1 : 0),
  );
}

function shareOf(share: Share, total: number): number {
  return typeof share === "number" ? share : (Number.parseInt(share, 10) * total) / 100;
}

/** A batch whose tasks have all ended. */
export interface EndedBatch {
  readonly at: Instant;
  /** Names of nodes that did what was asked, and are offline now. */
  readonly silent: readonly string[];
}

export type Step =
  /** Tasks of this batch may begin, as many as the limits allow. */
  | { readonly do: "release"; readonly batch: number }
  | { readonly do: "wait"; readonly reason: string }
  | { readonly do: "pause"; readonly reason: string }
  /** No task waits. */
  | { readonly do: "nothing" };

/**
 * What comes next in a job that is neither paused nor held by its time or window.
 *
 * @param ended - asked about the batch before the next one only
 */
export function nextStep(
  job: Pick<Job, "rollout" | "forgiven">,
  counts: readonly TaskCount[],
  ended: (batch: number) => EndedBatch,
  now: Instant,
): Step {
  const waiting = counts.filter(({ state }) => state === "waiting").map(({ batch }) => batch);
  if (waiting.length === 0) return { do: "nothing" };
  const next = Math.min(...waiting);
  const { rollout } = job;
  if (!rollout) return { do: "release", batch: next };
  const tooMuch = whyTooMuch(job, rollout, counts);
  if (tooMuch !== undefined) return { do: "pause", reason: tooMuch };
  const before = counts.filter(({ batch }) => batch < next);
  const isOpen = before.some(({ state }) => !isFinished(state));
  if (isOpen) return { do: "wait", reason: `${nameOf(next - 1, rollout)} to end` };
  const seen = job.forgiven?.batch ?? -1;
  if (before.length === 0 || seen >= next - 1) return { do: "release", batch: next };
  return afterBatch(next, rollout, ended(next - 1), now);
}

function whyTooMuch(
  { forgiven }: Pick<Job, "forgiven">,
  { canary, failures }: Rollout,
  counts: readonly TaskCount[],
): string | undefined {
  const failed = counts.filter(({ state }) => state === "failed");
  const inCanary = canary === undefined ? 0 : total(failed.filter(({ batch }) => batch === 0));
  if (inCanary > 0 && !forgiven) return `${inCanary} of ${canary} canary nodes failed`;
  const all = total(counts);
  const allowed = Math.floor(shareOf(failures, all));
  if (total(failed) - (forgiven?.failures ?? 0) <= allowed) return undefined;
  const again = forgiven ? ` since it was resumed after ${forgiven.failures}` : "";
  return `${total(failed)} of ${all} nodes failed, ${allowed} may${again}`;
}

function afterBatch(next: number, rollout: Rollout, ended: EndedBatch, now: Instant): Step {
  const batch = nameOf(next - 1, rollout);
  if (ended.silent.length > 0) {
    return { do: "pause", reason: `offline after ${batch}: ${ended.silent.join(", ")}` };
  }
  const settled = instant(ended.at + rollout.settleSeconds * 1000);
  if (now >= settled) return { do: "release", batch: next };
  const until = new Date(settled).toISOString().slice(11, 19);
  return { do: "wait", reason: `${batch} to stay online until ${until} UTC` };
}

function nameOf(batch: number, { canary }: Rollout): string {
  if (canary === undefined) return `batch ${batch + 1}`;
  return batch === 0 ? "the canary" : `batch ${batch}`;
}

function total(counts: readonly TaskCount[]): number {
  return counts.reduce((sum, { count: one }) => sum + one, 0);
}

/** Where a node stands, as far as limits go. */
export interface Place {
  readonly rack?: string;
  readonly stack?: string;
  readonly outlet?: string;
}

/** Those of `waiting`, in order, that may begin beside `busy`. */
export function withinLimits<Item extends Place>(
  { perRack, perStack, perOutlet }: Rollout,
  waiting: readonly Item[],
  busy: readonly Place[],
): readonly Item[] {
  const limits = [
    ["rack", perRack],
    ["stack", perStack],
    ["outlet", perOutlet],
  ] as const;
  const used = new Map<string, number>();
  const keysOf = (place: Place) =>
    limits.flatMap(([member, limit]) => {
      const key = place[member];
      return limit === undefined || key === undefined ? [] : [{ key: `${member} ${key}`, limit }];
    });
  const take = (place: Place) => {
    for (const { key } of keysOf(place)) used.set(key, (used.get(key) ?? 0) + 1);
  };
  busy.forEach(take);
  return waiting.filter((item) => {
    const fits = keysOf(item).every(({ key, limit }) => (used.get(key) ?? 0) < limit);
    if (fits) take(item);
    return fits;
  });
}
