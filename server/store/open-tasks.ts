/**
 * The tasks that have not ended, in memory: every look of a run and every report
 * asks for its task, and each node for its turn. The table stays the truth; it
 * is read at first, and again when a change was undone.
 */

import type { NodeId, TaskId } from "#protocol/brand.ts";
import { isFinished, type Task } from "#protocol/job.ts";

export interface OpenTasks {
  get(id: TaskId): Task | undefined;
  /** Running, then queued; oldest first. */
  atWork(): readonly Task[];
  nodesAtWork(): number;
  atWorkOn(node: NodeId): readonly Task[];
  /** It was just written. */
  put(task: Task): void;
  /** What is remembered may be wrong. */
  forget(): void;
}

/** @param read - all tasks that have not ended, oldest first */
export function createOpenTasks(read: () => readonly Task[]): OpenTasks {
  // Maps keep the order in which tasks came: their age.
  let known: { byId: Map<TaskId, Task>; byNode: Map<NodeId, Map<TaskId, Task>> } | undefined;

  const remember = (task: Task, { byId, byNode }: NonNullable<typeof known>): void => {
    const { id, nodeId } = task;
    const ofNode = byNode.get(nodeId) ?? new Map<TaskId, Task>();
    if (isFinished(task.state)) {
      byId.delete(id);
      ofNode.delete(id);
    } else {
      byId.set(id, task);
      ofNode.set(id, task);
    }
    if (ofNode.size === 0) byNode.delete(nodeId);
    else byNode.set(nodeId, ofNode);
  };
  const inMemory = (): NonNullable<typeof known> => {
    if (known) return known;
    const made = { byId: new Map<TaskId, Task>(), byNode: new Map<NodeId, Map<TaskId, Task>>() };
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
    put: (task) => remember(task, inMemory()),
    forget() {
      known = undefined;
    },
  };
}

function isAtWork({ state }: Task): boolean {
  return state === "running" || state === "queued";
}

function atWorkOf(tasks: Iterable<Task>): readonly Task[] {
  const all = [...tasks];
  return ["running", "queued"].flatMap((state) => all.filter((task) => task.state === state));
}
