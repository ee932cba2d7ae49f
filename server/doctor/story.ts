/**
 * One boot of one node, as the rules of the diagnosis read it: its events by
 * kind, from the power-on or first DISCOVER on.
 *
 * Pure: stored events in, value out.
 */

import type { Instant, MacAddress } from "#protocol/brand.ts";
import type { DomainEvent, EventTopic, StoredEvent } from "#protocol/events.ts";
import type { FirmwareName } from "#protocol/firmware.ts";
import type { Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import type { Subnet } from "../config.ts";
import { stageOfFile } from "./boot-names.ts";

/** An event of one topic with its time. */
export type Told<Topic extends EventTopic> = Extract<DomainEvent, { topic: Topic }> & {
  readonly at: Instant;
};

export interface Story {
  readonly now: Instant;
  readonly mac: MacAddress;
  readonly node?: Node;
  /** The one it asked in last. */
  readonly subnet?: Pick<Subnet, "cidr" | "mode" | "interface">;
  /** Of the first event of this boot; undefined when nothing was ever heard. */
  readonly begin?: Instant;
  /** How many boots began in the half hour before this one. */
  readonly bootsBefore: number;
  readonly powers: readonly Told<"power">[];
  readonly dhcp: readonly Told<"dhcp">[];
  readonly files: readonly Told<"boot-file">[];
  readonly console: readonly { readonly at: Instant; readonly line: string }[];
  readonly enrolments: readonly Told<"enrolment">[];
  /** The newest task that changed in the time asked about. */
  readonly task?: Task;
  /** Other DHCP servers heard on the node's interface, in this boot or the hour before. */
  readonly rogues: readonly Told<"rogue-server">[];
  /** The firmware that began this boot. */
  readonly firmware?: FirmwareName;
  /** When the node itself was last heard. */
  readonly lastHeard?: Instant;
  /** `up`: its agent calls. `off`: switched off, and not heard since. */
  readonly state: "booting" | "up" | "off";
}

const hour = 3_600_000;
/** Nothing from a node for so long: what comes next is another boot. */
const pause = 600_000;
/** Boots that follow each other within this time count as a loop. */
const loopTime = 1_800_000;

export interface StoryInput {
  readonly now: Instant;
  readonly mac: MacAddress;
  readonly node?: Node;
  readonly subnets: readonly Pick<Subnet, "cidr" | "mode" | "interface">[];
  /** About this node, oldest first. */
  readonly events: readonly StoredEvent[];
}

export function tellStory({ now, mac, node, subnets, events }: StoryInput): Story {
  const begins = bootBegins(events);
  const begin = begins.at(-1);
  const boot = begin === undefined ? [] : events.filter(({ at }) => at >= begin);
  const of = <Topic extends EventTopic>(topic: Topic, from: readonly StoredEvent[] = boot) =>
    from.flatMap(({ at, event }) =>
      event.topic === topic ? [{ ...event, at } as unknown as Told<Topic>] : [],
    );
  const dhcp = of("dhcp");
  const subnet =
    subnets.find((one) => one.interface === dhcp.at(-1)?.interface) ??
    (subnets.length === 1 ? subnets[0] : undefined);
  const powers = of("power", begin === undefined ? events : boot);
  const task = of("task", events).at(-1)?.task;
  const firmware = dhcp.find((one) => one.firmware !== undefined)?.firmware ?? node?.firmware;
  const lastHeard = boot.findLast(({ event }) => isOfNode(event))?.at;
  return {
    now,
    mac,
    ...(node && { node }),
    ...(subnet && { subnet }),
    ...(begin !== undefined && { begin }),
    bootsBefore: begins.filter((at) => begin !== undefined && at < begin && begin - at < loopTime)
      .length,
    powers,
    dhcp,
    files: of("boot-file"),
    console: of("netconsole").flatMap(({ at, lines }) => lines.map((line) => ({ at, line }))),
    enrolments: of("enrolment"),
    ...(task && { task }),
    rogues: of("rogue-server", events).filter(({ at }) => at >= (begin ?? now) - hour),
    ...(firmware && { firmware }),
    ...(lastHeard !== undefined && { lastHeard }),
    state: stateOf(node, powers, lastHeard),
  };
}

function stateOf(
  node: Node | undefined,
  powers: Story["powers"],
  lastHeard: Instant | undefined,
): Story["state"] {
  if (node?.connection === "online") return "up";
  const off = powers.findLast(({ ok, state }) => ok && state === "off");
  const isHeardSince = off && lastHeard !== undefined && lastHeard > off.at;
  return node?.power === "off" && !isHeardSince ? "off" : "booting";
}

/**
 * Times at which a boot began: the outlet went on; or a firmware asks for an
 * address after a kernel was loaded, after the agent called, or after a pause.
 */
export function bootBegins(events: readonly StoredEvent[]): readonly Instant[] {
  const begins: Instant[] = [];
  let isOver = false;
  let last = Number.NEGATIVE_INFINITY;
  for (const { at, event } of events) {
    if (isPowerOn(event)) {
      begins.push(at);
      isOver = false;
      last = at;
    } else if (isOfNode(event)) {
      const isNext = asksToBoot(event) && (isOver || at - last > pause);
      if (begins.length === 0 || isNext) {
        begins.push(at);
        isOver = false;
      }
      last = at;
    }
    if (endsBoot(event)) isOver = true;
  }
  return begins;
}

function isPowerOn(event: DomainEvent): boolean {
  return event.topic === "power" && event.ok && event.state === "on";
}

/** iPXE asks in the middle of a boot; an OS after it, and tells no firmware. */
function asksToBoot(event: DomainEvent): boolean {
  if (event.topic !== "dhcp" || event.message !== "discover") return false;
  return event.firmware !== undefined && !event.firmware.startsWith("ipxe-");
}

/** From here on the next DISCOVER of a firmware is another boot's. */
function endsBoot(event: DomainEvent): boolean {
  if (event.topic === "boot-file") {
    const stage = stageOfFile(event.name);
    return event.outcome === "sent" && (stage === "kernel" || stage === "agent");
  }
  if (event.topic === "power") return event.ok && event.state === "off";
  return event.topic === "node" && event.node.connection === "online";
}

/** Caused by a packet of the node itself, not by what the server does with it. */
function isOfNode({ topic }: DomainEvent): boolean {
  return (
    topic === "dhcp" || topic === "boot-file" || topic === "netconsole" || topic === "enrolment"
  );
}
