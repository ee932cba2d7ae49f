/** Domain events: what happened, in the order it happened. The API streams them (SSE), the page draws them. */

import type { Instant, Ipv4Address, MacAddress, NodeId } from "./brand.ts";
import type { FirmwareName } from "./firmware.ts";
import type { Job, Task } from "./job.ts";
import { type Node, type PowerState, type SlotRef, slotText } from "./node.ts";

export type DomainEvent =
  | { readonly topic: "node"; readonly node: Node }
  | { readonly topic: "job"; readonly job: Job }
  | { readonly topic: "task"; readonly task: Task }
  | {
      readonly topic: "task-log";
      readonly taskId: string;
      readonly nodeId: NodeId;
      readonly lines: readonly string[];
    }
  | {
      readonly topic: "lease";
      readonly mac: MacAddress;
      readonly address: Ipv4Address;
      readonly state: "offered" | "bound" | "released" | "declined" | "expired";
    }
  /** A firmware, iPXE or OS asked by DHCP; `known` says whether a node has this MAC address. */
  | {
      readonly topic: "heard";
      readonly mac: MacAddress;
      readonly firmware?: FirmwareName;
      readonly serial?: string;
      readonly uuid?: string;
    }
  /** A DHCP message of a client and what came of it. */
  | {
      readonly topic: "dhcp";
      readonly mac: MacAddress;
      readonly message: DhcpMessage;
      /** `offer`, `ack`, `nak`, or why nothing was sent: the label of the packet counter. */
      readonly outcome: string;
      readonly interface: string;
      /** What the reply gave, or what the client asked for. */
      readonly address?: Ipv4Address;
      readonly firmware?: FirmwareName;
      readonly xid?: number;
      /** Boot file the reply named. */
      readonly file?: string;
    }
  /** Somebody else answers DHCP where this server does. */
  | {
      readonly topic: "rogue-server";
      readonly interface: string;
      readonly kind: "dhcp" | "proxy-dhcp";
      /** Where its packet came from. */
      readonly address: Ipv4Address;
      readonly mac?: MacAddress;
      /** Option 54, which it wants its clients to name. */
      readonly serverIdentifier?: Ipv4Address;
      /** What it offered. */
      readonly offered?: Ipv4Address;
    }
  /** What a node says over UDP without being asked: a Raspberry Pi's boot ROM, Linux' netconsole. */
  | {
      readonly topic: "netconsole";
      readonly mac?: MacAddress;
      readonly address: Ipv4Address;
      readonly lines: readonly string[];
    }
  | {
      readonly topic: "boot-file";
      readonly address: Ipv4Address;
      readonly mac?: MacAddress;
      readonly protocol: "tftp" | "http";
      readonly name: string;
      readonly bytes: number;
      readonly outcome: "sent" | "not-found" | "aborted";
    }
  | {
      readonly topic: "power";
      readonly slot: SlotRef;
      readonly state: PowerState;
      readonly ok: boolean;
      readonly reason?: string;
    }
  | {
      readonly topic: "enrolment";
      readonly mac: MacAddress;
      readonly outcome: "accepted" | "refused";
      readonly reason?: string;
    }
  /** A node's machine is not what it was at its boot before. */
  | {
      readonly topic: "hardware";
      readonly nodeId: NodeId;
      readonly mac: MacAddress;
      /** `isLoss`: something is missing or smaller. */
      readonly changes: readonly { readonly text: string; readonly isLoss: boolean }[];
    }
  | {
      readonly topic: "learning";
      readonly state: "running" | "done" | "failed" | "cancelled";
      readonly text: string;
      readonly slot?: SlotRef;
    }
  | { readonly topic: "alarm"; readonly text: string };

/** RFC 2132 §9.6, in the direction of a server. */
export type DhcpMessage = "discover" | "request" | "decline" | "release" | "inform";

export type EventTopic = DomainEvent["topic"];

export interface StoredEvent {
  /** Rises by one per event; `Last-Event-ID` of the stream. */
  readonly id: number;
  readonly at: Instant;
  readonly event: DomainEvent;
}

/**
 * What the time line of a node finds the event by: a MAC address, a node's id,
 * a slot (`rack/stack/slot`), the address where no MAC address is known, or the
 * interface.
 */
export function subjectOf(event: DomainEvent): string | undefined {
  switch (event.topic) {
    case "node":
      return event.node.mac;
    case "task":
      return event.task.nodeId;
    case "power":
      return slotText(event.slot);
    case "lease":
    case "heard":
    case "dhcp":
    case "enrolment":
    case "hardware":
      return event.mac;
    case "boot-file":
    case "netconsole":
      return event.mac ?? event.address;
    case "rogue-server":
      return event.interface; // it concerns every node there
    case "job":
    case "task-log": // the log of its task has them
    case "learning":
    case "alarm":
      return undefined;
  }
}
