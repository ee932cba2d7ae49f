/** The time line of one node and its diagnosis, from what the journal holds. */

import type { Instant, MacAddress } from "#protocol/brand.ts";
import { type Node, slotText } from "#protocol/node.ts";
import type { Timeline } from "#protocol/timeline.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Store } from "../store/store.ts";
import { diagnose } from "./diagnosis.ts";
import { momentsOf } from "./moments.ts";
import { tellStory } from "./story.ts";

/** Of each subject (MAC address, node, slot, address, interface). */
const maxEvents = 1000;

export interface TimelineContext {
  readonly store: { readonly events: Pick<Store["events"], "about"> };
  readonly config: Pick<Config, "subnets">;
  readonly clock: Pick<Clock, "now">;
}

export interface TimelineQuestion {
  readonly mac: MacAddress;
  /** Absent: a MAC address that is no node yet. */
  readonly node?: Node;
  readonly hours: number;
  /** Newest moments told. */
  readonly limit: number;
}

export function timelineOf(question: TimelineQuestion, context: TimelineContext): Timeline {
  const { mac, node, hours, limit } = question;
  const { store, config, clock } = context;
  const now = clock.now();
  const after = (now - hours * 3_600_000) as Instant;
  const about = (subjects: readonly string[]) => store.events.about(subjects, after, maxEvents);
  const own = about([mac, ...(node ? subjectsOf(node) : [])]);
  const interfaces = own.flatMap(({ event }) => (event.topic === "dhcp" ? [event.interface] : []));
  const rogues = about([...new Set(interfaces)]);
  const events = [...own, ...rogues].toSorted((one, other) => one.id - other.id);
  const story = tellStory({ now, mac, ...(node && { node }), subnets: config.subnets, events });
  return {
    mac,
    ...(node && { nodeId: node.id, name: node.name }),
    ...(story.begin !== undefined && { bootedAt: story.begin }),
    findings: diagnose(story),
    moments: momentsOf(events).slice(-limit),
  };
}

function subjectsOf({ id, slot, address }: Node): readonly string[] {
  return [id, ...(slot ? [slotText(slot)] : []), ...(address === undefined ? [] : [address])];
}
