/** A node: a computer we install. Its life cycle, its power and its connection are three separate axes. */

import type { ImageDigest, Instant, Ipv4Address, MacAddress, NodeId } from "./brand.ts";
import type { Architecture, FirmwareName } from "./firmware.ts";

export const nodeStates = [
  "discovered", // its MAC address was heard, nothing proven
  "enrolled", // holds a certificate of the site
  "ready", // enrolled, in a slot, waiting for a job
  "installing",
  "installed", // the resident agent of the installed OS has called
  "failed", // the last install ended without a bootable OS; the reason is in `reason`
  "retired",
] as const;
export type NodeState = (typeof nodeStates)[number];

export type PowerState = "on" | "off" | "unknown";
export type AgentRole = "netinst" | "resident";

/** Place of a node in a rack. All three are names from the rack file. */
export interface SlotRef {
  readonly rack: string;
  readonly stack: string;
  readonly slot: string;
}

/** What the agent said about itself at its last check-in. */
export interface AgentSession {
  readonly role: AgentRole;
  readonly version: string;
  /** `/proc/sys/kernel/random/boot_id`: changes with every boot, tells a reboot from a reconnect. */
  readonly bootId: string;
  readonly hostname: string;
  readonly address: Ipv4Address;
  readonly since: Instant;
  readonly lastSeen: Instant;
}

/** Found by the netinst agent; shown, and used to choose the target disk. */
export interface Hardware {
  readonly model: string;
  readonly serial?: string;
  readonly uuid?: string;
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly disks: readonly Disk[];
  readonly interfaces: readonly { readonly name: string; readonly mac: string }[];
}

export interface Disk {
  /** Kernel name without /dev: `vda`, `mmcblk0`, `nvme0n1`. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly model?: string;
  readonly serial?: string;
  readonly removable: boolean;
}

export interface Node {
  readonly id: NodeId;
  /** Host name it gets, unique; from the rack file, or made from the MAC address. */
  readonly name: string;
  readonly mac: MacAddress;
  readonly state: NodeState;
  /** Why the state is `failed`, or why the node is held back. For people. */
  readonly reason?: string;
  /** A node in quarantine gets no job until an admin approves it. */
  readonly quarantined: boolean;
  readonly power: PowerState;
  readonly connection: "online" | "offline";
  readonly architecture?: Architecture;
  /** The firmware first heard in a boot, not the iPXE that follows it. */
  readonly firmware?: FirmwareName;
  readonly serial?: string;
  readonly uuid?: string;
  readonly slot?: SlotRef;
  readonly address?: Ipv4Address;
  readonly agent?: AgentSession;
  readonly hardware?: Hardware;
  /** Image on its disk, once installed. */
  readonly image?: ImageDigest;
  /** Fingerprints of the installed system's SSH host keys, `SHA256:…`, recorded at install. */
  readonly sshHostKeys?: readonly string[];
  /** sha-256 fingerprint of the node's certificate, in hex; a new enrolment replaces it. */
  readonly certificate?: string;
  readonly createdAt: Instant;
  readonly updatedAt: Instant;
}
