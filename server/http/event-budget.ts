/**
 * Which events are worth the journal's room.
 *
 * The journal keeps a fixed number of events, and whoever shares the wire can
 * cause as many as he likes: a DISCOVER from an invented MAC address costs him
 * nothing. So what a packet causes is kept up to a budget: a generous one for
 * each node we know, a small one for each stranger, and one for all strangers
 * together, which a flood uses up without touching the nodes'. What people and
 * rooms cause is always kept.
 */

import { type DomainEvent, subjectOf } from "#protocol/events.ts";
import type { Node } from "#protocol/node.ts";
import { createTokenBuckets } from "#protocol/token-bucket.ts";
import type { Clock } from "../clock.ts";

/** A boot is about 100 events: DHCP, leases, files. Then one in 20 s: 4,320 a day. */
const ofNode = { burst: 400, perSecond: 1 / 20, sources: 8192 };
/** Three boots of a board that nobody has approved yet. */
const ofStranger = { burst: 300, perSecond: 1 / 20, sources: 4096 };
/** A tenth of the journal's room (100,000) at once, then 21,600 a day. */
const ofAllStrangers = { burst: 10_000, perSecond: 1 / 4, sources: 1 };

export interface EventBudget {
  /** True, and that much less left, when the event shall be kept. */
  allows(event: DomainEvent): boolean;
}

/** @param known - the nodes at the start; later ones come as `node` events */
export function createEventBudget(context: {
  readonly known: readonly Node[];
  readonly clock: Pick<Clock, "monotonic">;
}): EventBudget {
  const { clock } = context;
  const placed = new Set<string>(context.known.filter(isPlaced).map(({ mac }) => mac));
  const nodes = createTokenBuckets(ofNode);
  const strangers = createTokenBuckets(ofStranger);
  const allStrangers = createTokenBuckets(ofAllStrangers);
  return {
    allows(event) {
      if (event.topic === "node" && isPlaced(event.node)) placed.add(event.node.mac);
      if (!isCausedByPacket(event)) return true;
      const now = clock.monotonic();
      const subject = subjectOf(event) ?? event.topic;
      if (placed.has(subject)) return nodes.take(subject, now);
      return strangers.take(subject, now) && allStrangers.take("all", now);
    },
  };
}

/** More than heard of: it has a slot, or has proven who it is. */
function isPlaced({ slot, state }: Node): boolean {
  return slot !== undefined || state !== "discovered";
}

/** Whether nothing but a packet is needed to cause it. */
export function isCausedByPacket(event: DomainEvent): boolean {
  switch (event.topic) {
    case "heard":
    case "dhcp":
    case "lease":
    case "boot-file":
    case "netconsole":
    case "rogue-server":
      return true;
    case "enrolment":
      return event.outcome === "refused";
    case "node":
    case "job":
    case "task":
    case "task-log":
    case "power":
    case "hardware":
    case "learning":
    case "alarm":
      return false;
  }
}
