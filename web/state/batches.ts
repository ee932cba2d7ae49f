/** A job's tasks as they are listed: by batch, those of small ones all, of large ones what needs a look. */

import { type Task, taskStates } from "#protocol/job.ts";

export interface Batch {
  readonly batch: number;
  /** `undefined` when the job has one batch only. */
  readonly name: string | undefined;
  /** `12 done, 3 running`. */
  readonly counts: string;
  readonly shown: readonly Task[];
}

const mostShown = 12;

export function batchesOf(tasks: readonly Task[]): readonly Batch[] {
  const byBatch = Map.groupBy(tasks, ({ batch = 0 }) => batch);
  const isOne = byBatch.size <= 1;
  return [...byBatch]
    .toSorted(([one], [other]) => one - other)
    .map(([batch, own]) => ({
      batch,
      name: isOne && own.length <= mostShown ? undefined : `Batch ${batch + 1}`,
      counts: countsOf(own),
      shown: own.length <= mostShown && (isOne || !isQuiet(own)) ? own : worthALook(own),
    }));
}

function countsOf(tasks: readonly Task[]): string {
  return taskStates
    .map((state) => [tasks.filter((task) => task.state === state).length, state] as const)
    .filter(([count]) => count > 0)
    .map(([count, state]) => `${count} ${state}`)
    .join(", ");
}

/** All wait, or all went well: the counts say it. */
function isQuiet(tasks: readonly Task[]): boolean {
  return tasks.every(({ state }) => state === "waiting" || state === "done");
}

function worthALook(tasks: readonly Task[]): readonly Task[] {
  const order = ["failed", "running", "queued"];
  return tasks
    .filter(({ state }) => order.includes(state))
    .toSorted((one, other) => order.indexOf(one.state) - order.indexOf(other.state))
    .slice(0, mostShown);
}
