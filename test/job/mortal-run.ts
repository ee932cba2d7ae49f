/**
 * One job of one node, from the request to its end, with a server that dies at one of its commits
 * and starts again, or with a disk that refuses one.
 */

import { join } from "node:path";
import type { ExecutionContext } from "ava";
import type { Image } from "#protocol/image.ts";
import type { Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { ProvisionError, UnavailableError } from "../../server/errors.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import type { Store } from "../../server/store/store.ts";
import { type Death, Killed, openMortalStore } from "../support/mortal-store.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { createRig, type Rig } from "./rig.ts";

/** A node that obeys, and repeats what was not acknowledged. */
export interface Agent {
  /** Every restart it was ordered, by the attempt that did: `1 into netinst`. */
  readonly restarts: readonly string[];
  /** The one in the library, if not the usual. */
  readonly image?: Image;
  /** Each time a server has started. */
  lead?(rig: Rig): void;
  /** Before anything is counted. */
  prepare?(rig: Rig): Promise<void>;
  /** Asks for the job. */
  ask(rig: Rig): Promise<unknown>;
  /** Calls, and does a part of what it is ordered. */
  live(rig: Rig): Promise<void>;
}

export interface Outcome<A extends Agent = Agent> {
  readonly agent: A;
  readonly task: Task | undefined;
  readonly node: Node;
  /** Which death it was, and what became of the task: for messages. */
  readonly where: string;
  /** How often somebody was told of the refusal. */
  readonly refusals: number;
  /** The server made fewer commits than that: nothing was in its way. */
  readonly isOver: boolean;
}

const turns = 60;

/** Plays it with every commit in turn, until one is played to its end. Returns how many were in the way. */
export async function tryEachCommit<A extends Agent>(
  t: ExecutionContext,
  when: Death["when"],
  createAgent: () => A,
  check: (outcome: Outcome<A>) => void,
): Promise<{ readonly deaths: number; readonly refusals: number }> {
  const directory = temporaryDirectory(t);
  let refusals = 0;
  for (let at = 1; ; at++) {
    const outcome = await play(createAgent(), join(directory, `${at}.db`), at, when);
    t.deepEqual(outcome.agent.restarts, [...new Set(outcome.agent.restarts)], outcome.where);
    check(outcome);
    refusals += outcome.refusals;
    if (!outcome.isOver) continue;
    t.log(`${at - 1} commits ${when === "refused" ? when : `with a kill ${when} each`}`);
    return { deaths: at - 1, refusals };
  }
}

async function play<A extends Agent>(
  agent: A,
  path: string,
  at: number,
  when: Death["when"],
): Promise<Outcome<A>> {
  const death = { at: 0, when, count: 0 };
  let store: Store = openMortalStore(path, death);
  const { image } = agent;
  let rig = await createRig("on", { store, ...(image && { image }) });
  agent.lead?.(rig);
  await agent.prepare?.(rig);
  death.at = death.count + at;
  let refusals = 0;
  let isAlive = true;
  for (let turn = 0; turn < turns; turn++) {
    try {
      const isAsked = store.jobs.list({ limit: 1 }).length > 0;
      if (!isAsked) await agent.ask(rig);
      await agent.live(rig);
      await rig.clock.advance(5000);
      rig.nodes.markOffline();
    } catch (error) {
      if (error instanceof UnavailableError) refusals += 1;
      if (!(error instanceof Killed) && !(error instanceof ProvisionError)) throw error;
    }
    if (when === "refused" || !isAlive || death.count < death.at) continue;
    isAlive = false;
    const dead = store;
    store = openSqliteStore(path);
    rig = await rig.restart(store);
    agent.lead?.(rig);
    dead.close();
  }
  const task = store.jobs.list({ limit: 1 }).flatMap(({ id }) => store.tasks.ofJob(id))[0];
  const { node } = rig;
  await rig.jobs.close();
  store.close();
  const where = `${when} commit ${at}: ${task?.state} ${task?.stage} ${task?.reason}`;
  return { agent, task, node, where, refusals, isOver: death.count < death.at };
}
