/**
 * How a job goes through its nodes: canary, batches, health, limits, and how much may fail. Pure.
 *
 *   nodes 1 2 3 4 5 6 7 8     canary 1, batch 3
 *   batch 0 1 1 1 2 2 2 3
 */

import { type Static, Type } from "typebox";
import { type Instant, instant, type TaskId } from "#protocol/brand.ts";
import { isFinished, type Job, type Rollout, type Share } from "#protocol/job.ts";
import { batchName } from "#protocol/rollout-text.ts";
import type { TaskCount } from "../store/store.ts";

const count = Type.Integer({ minimum: 1, maximum: 100_000 });
/** See health.ts. */
const healthName = Type.String({ minLength: 1, maxLength: 600 });
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
    health: Type.Optional(
      Type.Unsafe<readonly string[]>(Type.Array(healthName, { minItems: 1, maxItems: 16 })),
    ),
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
  /** Of nodes that did what was asked, must be online, and are not. */
  readonly silent: readonly TaskId[];
}

export type Step =
  /** Tasks of this batch may begin, as many as the limits allow. */
  | { readonly do: "release"; readonly batch: number }
  | { readonly do: "wait"; readonly reason: string }
  | { readonly do: "pause"; readonly reason: string }
  /** These tasks, which were done, have failed after all. */
  | { readonly do: "fail"; readonly tasks: readonly TaskId[]; readonly reason: string }
  /** The batch has settled: what the roll-out asks of its nodes comes now. */
  | { readonly do: "check"; readonly batch: number }
  /** No task waits. */
  | { readonly do: "nothing" };

/**
 * What comes next in a job that is neither paused nor held by its time or window.
 *
 * @param ended - asked about the batch before the next one only
 */
export function nextStep(
  job: Progress,
  counts: readonly TaskCount[],
  ended: (batch: number) => EndedBatch,
  now: Instant,
): Step {
  const waiting = counts.filter(({ state }) => state === "waiting").map(({ batch }) => batch);
  const { rollout } = job;
  if (waiting.length === 0) {
    const last = lastOf(counts);
    return rollout && awaitsHealth(job, counts)
      ? afterBatch(rollout, last, ended(last), now)
      : { do: "nothing" };
  }
  const next = Math.min(...waiting);
  if (!rollout) return { do: "release", batch: next };
  const tooMuch = whyTooMuch(job, rollout, counts);
  if (tooMuch !== undefined) return { do: "pause", reason: tooMuch };
  const before = counts.filter(({ batch }) => batch < next);
  const isOpen = before.some(({ state }) => !isFinished(state));
  if (isOpen) return { do: "wait", reason: `${batchName(next - 1, rollout)} to end` };
  if (before.length === 0 || seenOf(job) >= next - 1) return { do: "release", batch: next };
  return afterBatch(rollout, next - 1, ended(next - 1), now);
}

type Progress = Pick<Job, "rollout" | "forgiven" | "health" | "cancelledBy">;

/** Whether all its tasks have ended, and the nodes of the last batch are still to be asked how they are. */
export function awaitsHealth(job: Progress, counts: readonly TaskCount[]): boolean {
  if (!job.rollout?.health || job.cancelledBy !== undefined) return false;
  if (counts.some(({ state }) => !isFinished(state))) return false;
  const last = lastOf(counts);
  return (
    seenOf(job) < last && counts.some(({ batch, state }) => batch === last && state === "done")
  );
}

/** The last batch whose nodes were found healthy enough, by their checks or by a person. */
function seenOf({ forgiven, health }: Progress): number {
  const checked = health?.endedAt === undefined ? -1 : health.batch;
  return Math.max(checked, forgiven?.batch ?? -1);
}

function lastOf(counts: readonly TaskCount[]): number {
  return Math.max(...counts.map(({ batch }) => batch));
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

function afterBatch(rollout: Rollout, batch: number, ended: EndedBatch, now: Instant): Step {
  const { silent: tasks, at } = ended;
  if (tasks.length > 0) return { do: "fail", tasks, reason: "offline" };
  const settled = instant(at + rollout.settleSeconds * 1000);
  if (now >= settled) {
    return rollout.health ? { do: "check", batch } : { do: "release", batch: batch + 1 };
  }
  const until = new Date(settled).toISOString().slice(11, 19);
  const name = batchName(batch, rollout);
  return { do: "wait", reason: `${name} to settle until ${until} UTC` };
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
