/**
 * The time line of one node, kept up to date: after something happened to the
 * node, and once in a while, since a diagnosis changes by silence too.
 */

import { type DomainEvent, subjectOf } from "#protocol/events.ts";
import { type Node, slotText } from "#protocol/node.ts";
import type { Timeline } from "#protocol/timeline.ts";
import { type Followed, type FollowSource, follow } from "./follow.ts";

/** A boot causes dozens of events a second. */
const pace = { settleMs: 1000, periodMs: 15_000 };

export function followTimeline(node: Node, source: FollowSource<Timeline>): Followed<Timeline> {
  return follow(source, (event) => concerns(event, node), pace);
}

export function concerns(event: DomainEvent, { id, mac, slot, address }: Node): boolean {
  const subject = subjectOf(event);
  if (subject === undefined) return false;
  const place = slot && slotText(slot);
  return [id, mac, place, address].some((one) => one === subject);
}
