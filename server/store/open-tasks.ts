/**
 * The tasks that have not ended, in memory: every look of a run and every report
 * asks for its task, and each node for its turn. The table stays the truth; it
 * is read at first, and again when a change was undone.
 */

import type { JobId, NodeId, TaskId } from "#protocol/brand.ts";
import { isFinished, type Task } from "#protocol/job.ts";

export interface OpenTasks {
  get(id: TaskId): Task | undefined;
  /** Running, then queued; oldest first. */
  atWork(): readonly Task[];
  nodesAtWork(): number;
  atWorkOn(node: NodeId): readonly Task[];
  /** Whether a task of the job has not ended. */
  isOpen(job: JobId): boolean;
  /** It was just written. */
  put(task: Task): void;
  /** What is remembered may be wrong. */
  forget(): void;
}

/** @param read - all tasks that have not ended, oldest first */
export function createOpenTasks(read: () => readonly Task[]): OpenTasks {
  let known: Known | undefined;
  const inMemory = (): Known => {
    if (known) return known;
    const made: Known = { byId: new Map(), byNode: new Map(), openOf: new Map() };
    for (const task of read()) remember(task, made);
    known = made;
    return made;
  };

  return {
    get: (id) => inMemory().byId.get(id),
    atWork: () => atWorkOf(inMemory().byId.values()),
    nodesAtWork: () =>
      inMemory()
        .byNode.values()
        .filter((tasks) => tasks.values().some(isAtWork))
        .reduce((count) => count + 1, 0),
    atWorkOn: (node) => atWorkOf(inMemory().byNode.get(node)?.values() ?? []),
    isOpen: (job) => (inMemory().openOf.get(job) ?? 0) > 0,
    put: (task) => remember(task, inMemory()),
    forget() {
      known = undefined;
    },
  };
}

interface Known {
  // Maps keep the order in which tasks came: their age.
  readonly byId: Map<TaskId, Task>;
  readonly byNode: Map<NodeId, Map<TaskId, Task>>;
  /** How many tasks of a job there are. */
  readonly openOf: Map<JobId, number>;
}

function remember(task: Task, { byId, byNode, openOf }: Known): void {
  const { id, nodeId, jobId } = task;
  const wasOpen = byId.has(id);
  const isOpen = !isFinished(task.state);
  const ofNode = byNode.get(nodeId) ?? new Map<TaskId, Task>();
  if (isOpen) {
    byId.set(id, task);
    ofNode.set(id, task);
  } else {
    byId.delete(id);
    ofNode.delete(id);
  }
  if (ofNode.size === 0) byNode.delete(nodeId);
  else byNode.set(nodeId, ofNode);
  const count = (openOf.get(jobId) ?? 0) + Number(isOpen) - Number(wasOpen);
  if (count === 0) openOf.delete(jobId);
  else openOf.set(jobId, count);
}

function isAtWork({ state }: Task): boolean {
  return state === "running" || state === "queued";
}

function atWorkOf(tasks: Iterable<Task>): readonly Task[] {
  const running: Task[] = [];
  const queued: Task[] = [];
  for (const task of tasks) {
    if (task.state === "running") running.push(task);
    else if (task.state === "queued") queued.push(task);
  }
  return running.concat(queued);
}
