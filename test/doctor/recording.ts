/** Events of one node as the journal holds them, written down in seconds. */

import { type Instant, parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import type { DomainEvent, StoredEvent } from "#protocol/events.ts";
import type { FirmwareName } from "#protocol/firmware.ts";
import type { Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import type { Finding } from "#protocol/timeline.ts";
import type { Subnet } from "../../server/config.ts";
import { diagnose } from "../../server/doctor/diagnosis.ts";
import { tellStory } from "../../server/doctor/story.ts";

export const mac = parseMacAddress("dc:a6:32:01:36:c2");
export const address = parseIpv4Address("10.77.0.11");
export const slot = { rack: "lab", stack: "a", slot: "1" };
export const start = 1_800_000_000_000;

export type Entry = readonly [seconds: number, event: DomainEvent];

export type Entries = readonly (Entry | readonly Entry[])[];

export function stored(...entries: Entries): readonly StoredEvent[] {
  return (entries.flatMap((one) => (Array.isArray(one[0]) ? one : [one])) as readonly Entry[]).map(
    ([seconds, event], index) => ({ id: index + 1, at: instantAt(seconds), event }),
  );
}

export function instantAt(seconds: number): Instant {
  return (start + seconds * 1000) as Instant;
}

export function power(at: number, state: "on" | "off", reason?: string): Entry {
  return [
    at,
    {
      topic: "power",
      slot,
      state,
      ok: reason === undefined,
      ...(reason !== undefined && { reason }),
    },
  ];
}

type Dhcp = Extract<DomainEvent, { topic: "dhcp" }>;

export function dhcp(
  at: number,
  message: Dhcp["message"],
  outcome: string,
  firmware?: FirmwareName,
  more: Partial<Dhcp> = {},
): Entry {
  const given = outcome === "offer" || outcome === "ack" ? { address } : {};
  return [
    at,
    {
      topic: "dhcp",
      mac,
      message,
      outcome,
      interface: "eth1",
      ...given,
      ...(firmware && { firmware }),
      ...more,
    },
  ];
}

/** DISCOVER and REQUEST, both answered. */
export function bound(at: number, firmware?: FirmwareName): readonly Entry[] {
  return [dhcp(at, "discover", "offer", firmware), dhcp(at + 1, "request", "ack", firmware)];
}

export function file(
  at: number,
  name: string,
  outcome: "sent" | "not-found" | "aborted" = "sent",
  bytes = outcome === "not-found" ? 0 : 1000,
  protocol: "tftp" | "http" = "tftp",
): Entry {
  return [at, { topic: "boot-file", address, mac, protocol, name, bytes, outcome }];
}

export function says(at: number, ...lines: readonly string[]): Entry {
  return [at, { topic: "netconsole", address, mac, lines }];
}

export function node(change: Partial<Node> = {}): Node {
  return {
    id: "node_1",
    name: "a-1",
    mac,
    state: "ready",
    quarantined: false,
    power: "on",
    connection: "offline",
    slot,
    address,
    createdAt: start,
    updatedAt: start,
    ...change,
  } as Node;
}

export function agentSession(since: number, lastSeen: number): NonNullable<Node["agent"]> {
  return {
    role: "netinst",
    version: "1",
    bootId: "b",
    hostname: "a-1",
    address,
    since: instantAt(since),
    lastSeen: instantAt(lastSeen),
  };
}

export function task(at: number, change: Partial<Task>): Entry {
  const made = {
    id: "task_1",
    jobId: "job_1",
    nodeId: "node_1",
    kind: "install",
    state: "queued",
    epoch: 1,
    percent: 0,
    stageSeconds: {},
    createdAt: instantAt(at),
    ...change,
  } as Task;
  return [at, { topic: "task", task: made }];
}

export interface Case {
  readonly entries: Entries;
  /** Seconds at which somebody asks why. */
  readonly now: number;
  readonly node?: Node;
  readonly mode?: Subnet["mode"];
}

export function findingsOf({
  entries,
  now,
  node: known,
  mode = "reservation",
}: Case): readonly Finding[] {
  return diagnose(
    tellStory({
      now: instantAt(now),
      mac,
      ...(known && { node: known }),
      subnets: [{ cidr: "10.77.0.0/24", mode, interface: "eth1" }],
      events: stored(...entries),
    }),
  );
}
