/** Events in words, for the list of what happened. */

import type { DomainEvent, StoredEvent } from "#protocol/events.ts";
import type { Job } from "#protocol/job.ts";
import { slotText } from "#protocol/node.ts";

export interface Activity {
  readonly id: number;
  readonly at: number;
  readonly text: string;
  readonly isAlarm: boolean;
}

/** `undefined` for events that other parts of the page show. */
export function activityOf({ id, at, event }: StoredEvent): Activity | undefined {
  const text = sentenceOf(event);
  return text === undefined ? undefined : { id, at, text, isAlarm: isAlarm(event) };
}

function isAlarm(event: DomainEvent): boolean {
  if (event.topic === "enrolment") return event.outcome === "refused";
  if (event.topic === "power") return !event.ok;
  if (event.topic === "hardware") return event.changes.some(({ isLoss }) => isLoss);
  return event.topic === "alarm" || event.topic === "rogue-server";
}

function sentenceOf(event: DomainEvent): string | undefined {
  switch (event.topic) {
    case "heard":
      return `${event.mac} asks for an address${event.firmware ? ` (${event.firmware})` : ""}`;
    case "lease":
      return `${event.address} is ${event.state} for ${event.mac}`;
    case "boot-file":
      return event.outcome === "sent"
        ? `${event.address} got ${event.name} by ${event.protocol} (${size(event.bytes)})`
        : `${event.address}: ${event.name} ${event.outcome} by ${event.protocol}`;
    case "power": {
      const outcome = event.ok ? event.state : `failed: ${event.reason ?? "no reason given"}`;
      return `outlet of ${slotText(event.slot)}: ${outcome}`;
    }
    case "enrolment":
      return `${event.mac} enrolment ${event.outcome}${event.reason ? `: ${event.reason}` : ""}`;
    case "hardware":
      return `${event.mac}: ${event.changes.map(({ text }) => text).join("; ")}`;
    case "learning":
    case "alarm":
      return event.text;
    case "job":
      return jobLine(event.job);
    case "rogue-server":
      return `${event.address} answers ${event.kind} on ${event.interface} too`;
    case "node":
    case "task":
    case "task-log":
    case "dhcp": // the panel of its node shows it
    case "netconsole":
      return undefined;
  }
}

function jobLine({ kind, state, waitsFor }: Job): string | undefined {
  if (waitsFor !== undefined) return `${kind} job waits: ${waitsFor}`;
  return state === "queued" || state === "waiting" ? undefined : `${kind} job ${state}`;
}

export function size(octets: number): string {
  if (octets < 1000) return `${octets} B`;
  if (octets < 1e6) return `${(octets / 1e3).toFixed(0)} kB`;
  if (octets < 1e9) return `${(octets / 1e6).toFixed(1)} MB`;
  return `${(octets / 1e9).toFixed(2)} GB`;
}
