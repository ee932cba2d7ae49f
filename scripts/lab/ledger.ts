/**
 * What a server has said, to hold it to its word after it was killed: jobs that it
 * acknowledged, tasks as far as they had come, where each node's place is.
 */

import type { Job, Task } from "#protocol/job.ts";
import { isFinished } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { type Api, ApiError, patiently } from "./api.ts";

export interface Ledger {
  /** Records that were there and are not any more, or went back. */
  readonly lost: readonly string[];
  /** The server answered that it has made this job. */
  acknowledged(job: Job): void;
  /** Reads everything that may have changed, and compares it with what was read before. */
  check(): Promise<void>;
  /** As last read. */
  tasksOf(job: Job): readonly Task[];
  nodes(): readonly Node[];
}

export function createLedger(api: Api): Ledger {
  const jobs = new Map<string, readonly Task[]>();
  const ended = new Set<string>();
  const lost = new Set<string>();
  let nodes: readonly Node[] = [];

  const compareTasks = (id: string, read: readonly Task[]) => {
    for (const before of jobs.get(id) ?? []) {
      const after = read.find((task) => task.id === before.id);
      if (!after) lost.add(`task ${before.id} of ${id}`);
      else if (after.epoch < before.epoch) {
        lost.add(`attempt ${before.epoch} of task ${before.id}: it is at ${after.epoch}`);
      } else if (isFinished(before.state) && after.state !== before.state) {
        lost.add(`the end of task ${before.id}: ${before.state}, now ${after.state}`);
      }
    }
    jobs.set(id, read);
  };
  const readJob = async (id: string) => {
    try {
      const { state, tasks } = await patiently(() =>
        api.get<Job & { tasks: readonly Task[] }>(`/api/v1/jobs/${id}`),
      );
      compareTasks(id, tasks);
      if (isFinished(state)) ended.add(id);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
      lost.add(`job ${id}`);
    }
  };
  const readNodes = async () => {
    const { items } = await patiently(() => api.get<{ items: readonly Node[] }>("/api/v1/nodes"));
    for (const { id, slot, address } of nodes) {
      const after = items.find((node) => node.id === id);
      if (!after) lost.add(`node ${id}`);
      else if (JSON.stringify([after.slot, after.address]) !== JSON.stringify([slot, address])) {
        lost.add(`place or address of node ${id}`);
      }
    }
    nodes = items;
  };

  return {
    get lost() {
      return [...lost];
    },
    acknowledged: (job) => void jobs.set(job.id, []),
    async check() {
      await readNodes();
      for (const id of jobs.keys()) if (!ended.has(id)) await readJob(id);
    },
    tasksOf: (job) => jobs.get(job.id) ?? [],
    nodes: () => nodes,
  };
}
