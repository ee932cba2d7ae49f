/**
 * What a journal out of a backup must not do by itself. It does not know what happened since: an
 * install it calls running may have ended long ago, and beginning it again would wipe the node.
 */

import { type Instant, instant } from "#protocol/brand.ts";
import { isFinished } from "#protocol/job.ts";
import { createAudit } from "../audit/audit.ts";
import type { Clock } from "../clock.ts";
import { createEventBus } from "../events.ts";
import { sessionTokenName } from "../http/auth.ts";
import { planAnew } from "../job/schedules.ts";
import { createTaskJournal } from "../job/task-journal.ts";
import type { Log } from "../log.ts";
import { createNodes } from "../node/nodes.ts";
import type { Store } from "../store/store.ts";

export interface Settled {
  /** Jobs that had not ended. */
  readonly jobs: number;
  /** Rack that was being learned. */
  readonly learning?: string;
  readonly nodes: number;
  readonly users: readonly string[];
  /** Of programs. */
  readonly tokens: number;
}

interface SettleContext {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * One transaction: jobs that had not ended have failed, learning is cancelled, no time that was
 * missed is made up for, nobody enrols by an old token, everybody signs in again.
 *
 * @param at - of the backup, for people
 */
export function settle(context: SettleContext, at: string): Settled {
  const { store, clock } = context;
  const events = createEventBus(context.log);
  const nodes = createNodes({ ...context, events });
  const journal = createTaskJournal({ store, nodes, events, clock });
  const reason = `the server was restored from a backup of ${at}: what became of it since is not known`;
  return store.transaction(() => {
    const open = store.jobs.unfinished();
    for (const { id } of open) {
      journal.changeJob(id, { cancelledBy: "the restore", paused: undefined, waitsFor: undefined });
      for (const task of store.tasks.ofJob(id)) {
        if (!isFinished(task.state)) journal.fail(task.id, reason, false);
      }
    }
    const learning = store.learnings.newest();
    const wasLearning = learning?.state === "running";
    if (wasLearning) {
      store.learnings.put({ ...learning, state: "cancelled", reason, endedAt: clock.now() });
    }
    planAnew(store, clock.now());
    endTokens(store);
    createAudit(context).append("server", "restore", "journal", `from a backup of ${at}`);
    return {
      jobs: open.length,
      ...(wasLearning && { learning: learning.rack }),
      nodes: store.nodes.list().length,
      users: store.users.list().map(({ name }) => name),
      tokens: store.apiTokens.list().length,
    };
  });
}

/** They may have been used, or ended by a person, since. */
function endTokens({ tokens, approvals, apiTokens, nodes }: Store): void {
  const never = instant(0);
  tokens.deleteExpired(Number.MAX_SAFE_INTEGER as Instant);
  for (const { mac } of nodes.list()) {
    const approval = approvals.get(mac);
    if (approval) approvals.put({ ...approval, expiresAt: never });
  }
  for (const { hash, name } of apiTokens.list()) {
    if (name === sessionTokenName) apiTokens.delete(hash);
  }
}
