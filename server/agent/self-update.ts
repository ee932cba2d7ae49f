/**
 * Which agent of an installed system shall replace itself now. The program is the netinst's: what a
 * new install would get.
 *
 * One node begins; once it has called with the new program a few go at a time. A node that goes
 * back to the one before counts against the program, which is given up after three of them.
 */

import { createReadStream, type ReadStream } from "node:fs";
import { join } from "node:path";
import type { AgentUpdate } from "#protocol/agent.ts";
import { type Milliseconds, milliseconds, type NodeId } from "#protocol/brand.ts";
import type { Node } from "#protocol/node.ts";
import { createAudit } from "../audit/audit.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import { ForbiddenError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import { type NetinstSizes, readNetinst } from "../http/netinst.ts";
import type { Log } from "../log.ts";
import type { Store } from "../store/store.ts";

export interface SelfUpdates {
  /** What the node, which has just checked in, shall fetch. Its turn lasts a quarter of an hour. */
  offer(node: Node): AgentUpdate | undefined;
  /** The program of the node's architecture. @throws ForbiddenError when it has another digest by now */
  open(node: Node, digest: string): { readonly sizeBytes: number; readonly octets: ReadStream };
}

export interface SelfUpdatesContext {
  readonly config: Pick<Config, "agent" | "netinstDirectory">;
  readonly store: Pick<Store, "tasks" | "audit">;
  readonly events: Pick<EventBus, "publish">;
  readonly clock: Clock;
  readonly log: Log;
}

/** For 50 MB over a slow network, and the time a program gets to call. */
const turnTime = milliseconds(15 * 60_000);
/** The agent counts its own; of all nodes together. */
const mostTries = 3;
const mostFailures = 3;
/** A node that went back is left alone for so long: others may show whether it is the program. */
const restTime = milliseconds(3_600_000);
/** netinst.json is read again after so long. */
const readEvery = milliseconds(10_000);

interface Turn {
  readonly digest: string;
  readonly until: Milliseconds;
  /** What the node had tried before. */
  readonly times: number;
}

export function createSelfUpdates(context: SelfUpdatesContext): SelfUpdates {
  const { config, store, events, clock, log } = context;
  const audit = createAudit(context);
  const turns = new Map<NodeId, Turn>();
  const resting = new Map<NodeId, Milliseconds>();
  /** Programs with which a node has called after its turn; and how many went back, by digest. */
  const proven = new Set<string>();
  const failures = new Map<string, number>();
  let known: readonly NetinstSizes[] = [];
  let readAt = Number.NEGATIVE_INFINITY;

  const programOf = ({ architecture }: Node): NetinstSizes | undefined => {
    if (clock.monotonic() - readAt >= readEvery) {
      readAt = clock.monotonic();
      try {
        known = readNetinst(config.netinstDirectory);
      } catch (error) {
        log.warn({ err: error }, "no agent is updated");
        known = [];
      }
    }
    return known.find(({ arch }) => arch === architecture);
  };

  const countFailure = ({ id, name }: Node, digest: string): void => {
    const count = (failures.get(digest) ?? 0) + 1;
    failures.set(digest, count);
    const short = digest.slice(0, 12);
    audit.append("server", "agent went back", id, `${short} did not call`);
    log.warn({ node: id, digest }, "an updated agent did not call: the one before goes on");
    if (count !== mostFailures) return;
    const text = `agents are not updated to ${short} any more: it did not call ${count} times, at last on ${name}; build the netinst again, or set agent.selfUpdate to false`;
    events.publish({ topic: "alarm", text });
  };

  /** What came of the node's turn, if it had one. */
  const endTurn = (node: Node, digest: string, tried: number): void => {
    const turn = turns.get(node.id);
    if (!turn) return;
    if (digest === turn.digest) {
      turns.delete(node.id);
      proven.add(digest);
      audit.append("server", "agent updated", node.id, digest.slice(0, 12));
      log.info({ node: node.id, digest }, "agent updated");
    } else if (tried > turn.times) {
      turns.delete(node.id);
      resting.set(node.id, after(clock.monotonic(), restTime));
      countFailure(node, turn.digest);
    } else if (clock.monotonic() >= turn.until) {
      turns.delete(node.id);
    }
  };

  const isFree = (digest: string): boolean => {
    const now = clock.monotonic();
    const taken = [...turns.values()].filter(({ until }) => now < until).length;
    return taken < (proven.has(digest) ? config.agent.updatesAtOnce : 1);
  };

  const isReady = ({ id, quarantined }: Node): boolean =>
    !quarantined && store.tasks.unfinishedOf(id).length === 0;

  /** False when it is not the node's turn. */
  const takeTurn = (id: NodeId, digest: string, times: number): boolean => {
    if ((failures.get(digest) ?? 0) >= mostFailures) return false;
    if (turns.has(id)) return true;
    const isResting = clock.monotonic() < (resting.get(id) ?? 0);
    if (isResting || !isFree(digest)) return false;
    turns.set(id, { digest, times, until: after(clock.monotonic(), turnTime) });
    return true;
  };

  return {
    offer(node) {
      const own = node.agent?.program;
      if (!config.agent.selfUpdate || node.agent?.role !== "resident" || !own) return undefined;
      const program = programOf(node);
      if (!program) return undefined;
      const { stage2Digest: digest, stage2Bytes: sizeBytes } = program;
      const times = own.tried?.digest === digest ? own.tried.times : 0;
      endTurn(node, own.digest, times);
      if (own.digest === digest || times >= mostTries || !isReady(node)) return undefined;
      return takeTurn(node.id, digest, times) ? { digest, sizeBytes } : undefined;
    },

    open(node, digest) {
      const program = programOf(node);
      if (program?.stage2Digest !== digest) {
        throw new ForbiddenError(`the agent of ${node.architecture} has another digest`);
      }
      const path = join(config.netinstDirectory, program.arch, "agent.squashfs");
      return { sizeBytes: program.stage2Bytes, octets: createReadStream(path) };
    },
  };
}

function after(now: Milliseconds, duration: Milliseconds): Milliseconds {
  return (now + duration) as Milliseconds;
}
