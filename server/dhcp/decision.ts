/** What comes of one DHCP message, and what is needed to decide it. */

import type { Ipv4Address, MacAddress } from "#protocol/brand.ts";
import type { FirmwareName } from "#protocol/firmware.ts";
import type { Boot, BootReply, BootServer } from "../boot/profile.ts";
import type { Subnet } from "../config.ts";
import type { EventBus } from "../events.ts";
import type { Admission } from "../lease/admission.ts";
import type { Leases } from "../lease/leases.ts";
import type { DhcpPacket } from "./codec/packet.ts";
import type { Destination } from "./destination.ts";
import type { Modes } from "./mode.ts";
import type { Recent } from "./recent.ts";
import type { Sightings } from "./sightings.ts";

export type Decision =
  | (Manner & {
      readonly kind: "reply";
      readonly type: "offer" | "ack" | "nak";
      readonly packet: DhcpPacket;
      readonly destination: Destination;
      readonly mac: MacAddress;
    })
  /** Nothing is sent. `reason` is a metrics label: a short, closed list. */
  | { readonly kind: "silence"; readonly reason: Silence; readonly mac?: MacAddress };

/** What a firmware needs beside the reply's octets. */
export type Manner = Pick<BootReply, "delay" | "awaitsIpv6Router">;

export function mannerOf({ delay, awaitsIpv6Router }: BootReply): Manner {
  return { ...(delay && { delay }), ...(awaitsIpv6Router && { awaitsIpv6Router }) };
}

export type Silence =
  | "not-a-request"
  | "own-probe"
  | "foreign-subnet"
  | "unknown-relay"
  | "off"
  | "listening"
  | "proxied"
  | "unknown-client"
  | "being-learned"
  | "no-boot-file"
  | "other-server"
  | "no-address"
  | "noted";

export interface HandlerContext {
  /** The subnets of the interface this message came in on; the first is that of local clients. */
  readonly subnets: readonly [Subnet, ...Subnet[]];
  /** This server's own address there: server identifier and next server. */
  readonly server: BootServer;
  readonly leases: Leases;
  readonly admission: Admission;
  readonly boot: Pick<Boot, "reply">;
  readonly events: EventBus;
  /** Last message of each hardware address; the handler keeps it up to date. */
  readonly recent: Recent;
  /** How each subnet is served now; absent: as set, and `auto` not at all. */
  readonly modes?: Modes;
  /** Absent: nobody else is known of. */
  readonly others?: OtherServers;
  /** Absent: nobody asks for files in mode `proxy`. */
  readonly sightings?: Sightings;
  /** Prefixes of hardware addresses beside the known ones, e.g. `2c:cf:67`. */
  readonly raspberryPiPrefixes?: Readonly<Record<string, FirmwareName>>;
}

/** The other DHCP servers of the interface (detector.ts). */
export interface OtherServers {
  /** A hardware address we ask under ourselves, to hear who answers. */
  isProbe(mac: MacAddress): boolean;
  /** A client on our own segment chose that server: it was heard, though not by us. */
  chosen(serverIdentifier: Ipv4Address): void;
  /** Another server gives addresses here. */
  areHeard(): boolean;
}

export function silence(reason: Silence, mac?: MacAddress): Decision {
  return { kind: "silence", reason, ...(mac && { mac }) };
}
