/**
 * Orders waiting for their agents: at most one per node, in memory. A restarted
 * server fills this again from the journal, with the same epochs.
 */

import type { Assignment } from "#protocol/agent.ts";
import type { Milliseconds, NodeId, TaskId } from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";

export interface Order {
  readonly assignment: Assignment;
  /** Only this boot of the node may have it. */
  readonly bootId: string;
}

export interface Assignments {
  of(node: NodeId): Order | undefined;
  put(order: Order): void;
  /** Called with the node of each order that is put. Returns the function that ends it. */
  onPut(listener: (node: NodeId) => void): () => void;
  /** Takes back what `task` ordered, if it is still there. */
  withdraw(node: NodeId, task: TaskId): void;
  /**
   * Waits for an order that `wanted` accepts.
   *
   * @returns undefined when there was none for `waitMs`, or `signal` was aborted.
   */
  wait(
    node: NodeId,
    wanted: (order: Order) => boolean,
    waitMs: Milliseconds,
    signal: AbortSignal,
  ): Promise<Order | undefined>;
}

/** What the agent calls an order it has: `<task>:<epoch>:<action>`. */
export function assignmentKey({ taskId, epoch, action }: Assignment): string {
  return `${taskId}:${epoch}:${action}`;
}

export function createAssignments(clock: Clock): Assignments {
  const orders = new Map<NodeId, Order>();
  const waiting = new Map<NodeId, Set<() => void>>();
  const listeners = new Set<(node: NodeId) => void>();

  const nextPut = (node: NodeId, limit: Milliseconds, signal: AbortSignal): Promise<void> => {
    const woken = new AbortController();
    const wake = () => woken.abort();
    const wakers = waiting.get(node) ?? new Set();
    waiting.set(node, wakers.add(wake));
    return clock.sleep(limit, AbortSignal.any([signal, woken.signal])).finally(() => {
      wakers.delete(wake);
      if (wakers.size === 0 && waiting.get(node) === wakers) waiting.delete(node);
    });
  };

  return {
    of: (node) => orders.get(node),
    put(order) {
      const { nodeId } = order.assignment;
      orders.set(nodeId, order);
      for (const wake of waiting.get(nodeId) ?? []) wake();
      for (const listener of listeners) listener(nodeId);
    },
    onPut(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    withdraw(node, task) {
      if (orders.get(node)?.assignment.taskId === task) orders.delete(node);
    },
    async wait(node, wanted, waitMs, signal) {
      const deadline = clock.monotonic() + waitMs;
      for (;;) {
        const order = orders.get(node);
        if (order && wanted(order)) return order;
        const left = deadline - clock.monotonic();
        if (left <= 0 || signal.aborted) return undefined;
        await nextPut(node, left as Milliseconds, signal);
      }
    },
  };
}
