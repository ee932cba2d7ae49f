/**
 * Events as lines of a node's time line.
 *
 * What repeats itself is one moment with a count: a ROM that asks five times, a
 * task that tells each percent, the files a firmware asks for in vain as a rule.
 */

import type { DomainEvent, StoredEvent } from "#protocol/events.ts";
import type { Node } from "#protocol/node.ts";
import type { Moment, MomentSource } from "#protocol/timeline.ts";
import { isProbe } from "./boot-names.ts";
import { sizeText } from "./words.ts";

interface Line {
  readonly source: MomentSource;
  readonly text: string;
  readonly isFault?: boolean;
  /** Text of the line before that says nothing more once this one is there. */
  readonly instead?: string;
}

/** @param events - about one node, oldest first */
export function momentsOf(events: readonly StoredEvent[]): readonly Moment[] {
  const moments: Moment[] = [];
  let node: Node | undefined;
  for (const { at, event } of events) {
    const lines = event.topic === "node" ? nodeLines(node, event.node) : linesOf(event);
    if (event.topic === "node") node = event.node;
    for (const { source, text, isFault = false, instead } of lines) {
      if (instead !== undefined && moments.at(-1)?.text === instead) moments.pop();
      const last = moments.at(-1);
      if (last?.source === source && last.text === text) {
        moments[moments.length - 1] = { ...last, until: at, times: last.times + 1 };
      } else {
        moments.push({ at, until: at, times: 1, source, text, isFault });
      }
    }
  }
  return moments;
}

function linesOf(event: DomainEvent): readonly Line[] {
  switch (event.topic) {
    case "dhcp":
      return [dhcpLine(event)];
    case "boot-file":
      return [fileLine(event)];
    case "netconsole":
      return event.lines.map((text) => ({ source: "netconsole", text }));
    case "power":
      return [
        event.ok
          ? { source: "power", text: `outlet ${event.state}` }
          : {
              source: "power",
              text: `outlet not switched ${event.state}: ${event.reason ?? "no reason given"}`,
              isFault: true,
            },
      ];
    case "enrolment":
      return [
        {
          source: "agent",
          text: `enrolment ${event.outcome}${event.reason === undefined ? "" : `: ${event.reason}`}`,
          isFault: event.outcome === "refused",
        },
      ];
    case "task": {
      const { kind, state, stage, reason } = event.task;
      const doing = state === "running" && stage ? stage : state;
      const why = reason === undefined ? "" : `: ${reason}`;
      return [{ source: "task", text: `${kind} ${doing}${why}`, isFault: state === "failed" }];
    }
    case "hardware":
      return event.changes.map(({ text, isLoss }) => ({ source: "agent", text, isFault: isLoss }));
    case "lease":
      // what was offered and bound is told by the DHCP messages
      if (event.state === "offered" || event.state === "bound") return [];
      return [
        {
          source: "dhcp",
          text: `lease of ${event.address} ${event.state}`,
          isFault: event.state === "declined",
        },
      ];
    case "rogue-server":
      return [
        {
          source: "network",
          text: `another server answers (${event.kind}): ${event.address} on ${event.interface}`,
          isFault: true,
        },
      ];
    case "node":
    case "heard":
    case "job":
    case "task-log":
    case "learning":
    case "alarm":
      return [];
  }
}

function dhcpLine(event: Extract<DomainEvent, { topic: "dhcp" }>): Line {
  const { message, outcome, address, firmware, file } = event;
  const asked = `${message.toUpperCase()}${firmware === undefined ? "" : ` (${firmware})`}`;
  switch (outcome) {
    case "offer":
    case "ack": {
      const given = address ?? "without an address";
      const text = `${asked}: ${outcome.toUpperCase()} ${given}${file ? `, file ${file}` : ""}`;
      return { source: "dhcp", text };
    }
    case "other-server":
    case "proxied":
      return { source: "dhcp", text: `${asked}: left to another DHCP server` };
    case "nak":
      return {
        source: "dhcp",
        text: `${asked}: NAK, ${address ?? "it"} is not its own`,
        isFault: true,
      };
    case "noted": // RELEASE and DECLINE get no answer
      return { source: "dhcp", text: asked, isFault: message === "decline" };
    default:
      return { source: "dhcp", text: `${asked}: no answer (${outcome})`, isFault: true };
  }
}

function fileLine(event: Extract<DomainEvent, { topic: "boot-file" }>): Line {
  const { name, protocol, bytes, outcome } = event;
  switch (outcome) {
    case "sent":
      return {
        source: "file",
        text: `got ${name} by ${protocol} (${sizeText(bytes)})`,
        instead: stoppedText(event),
      };
    case "not-found":
      return isProbe(name)
        ? { source: "file", text: "asked for a file that need not be there" }
        : { source: "file", text: `${name} not found (${protocol})`, isFault: true };
    case "aborted":
      return bytes === 0
        ? { source: "file", text: stoppedText(event) }
        : {
            source: "file",
            text: `${name} broke off after ${sizeText(bytes)} (${protocol})`,
            isFault: true,
          };
  }
}

/** EDK2, a Raspberry Pi and others first ask for the size alone. */
function stoppedText({ name, protocol }: { readonly name: string; readonly protocol: string }) {
  return `asked for ${name} by ${protocol} and stopped at once`;
}

/** What became different; nothing where only the time of the last call did. */
function nodeLines(before: Node | undefined, node: Node): readonly Line[] {
  const lines: Line[] = [];
  if (before && before.state !== node.state) {
    lines.push({
      source: "agent",
      text: `state ${before.state} to ${node.state}${node.reason === undefined ? "" : `: ${node.reason}`}`,
      isFault: node.state === "failed",
    });
  }
  if (node.rule && before?.rule?.text !== node.rule.text) {
    lines.push({ source: "task", text: node.rule.text });
  }
  if (node.quarantined && !before?.quarantined) {
    lines.push({
      source: "agent",
      text: `held back: ${node.reason ?? "no reason recorded"}`,
      isFault: true,
    });
  }
  const wasUp = before?.connection === "online" && before.agent?.since === node.agent?.since;
  if (node.connection === "online" && !wasUp && node.agent) {
    lines.push({ source: "agent", text: `agent calls (${node.agent.role} ${node.agent.version})` });
  }
  if (before?.connection === "online" && node.connection === "offline") {
    lines.push({ source: "agent", text: "agent calls no more", isFault: true });
  }
  return lines;
}
