/** A node: a computer we install. Its life cycle, its power and its connection are three separate axes. */

import type {
  ImageDigest,
  Instant,
  Ipv4Address,
  JobId,
  MacAddress,
  NodeId,
  TaskId,
} from "./brand.ts";
import type { Architecture, FirmwareName } from "./firmware.ts";
import type { RootSlot } from "./root-slots.ts";
import type { SwitchPorts } from "./switch-port.ts";

export const nodeStates = [
  "discovered", // its MAC address was heard, nothing proven
  "enrolled", // holds a certificate of the site
  "ready", // enrolled, in a slot, waiting for a job
  "installing",
  "installed", // the resident agent of the installed OS has called
  "failed", // the last install ended without a bootable OS, or the burn-in found a fault; why is in `reason`
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

/** As people write it: `lab/a/1`. */
export function slotText({ rack, stack, slot }: SlotRef): string {
  return `${rack}/${stack}/${slot}`;
}

export function isSameSlot(a: SlotRef, b: SlotRef): boolean {
  return a.rack === b.rack && a.stack === b.stack && a.slot === b.slot;
}

/** What came of a power command at one slot. */
export interface PowerAnswer {
  readonly slot: SlotRef;
  /** Name of the node there. */
  readonly node?: string;
  readonly ok: boolean;
  readonly state?: PowerState;
  /** The job that shuts the node's system down first, and switches then. */
  readonly jobId?: JobId;
  readonly reason?: string;
}

/** What a resident agent runs of, and what it ran in vain. */
export interface AgentProgram {
  /** sha-256 of its squashfs, hex. */
  readonly digest: string;
  /** An update that did not reach the server, and how often it was started. */
  readonly tried?: { readonly digest: string; readonly times: number };
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
  /** Of a resident agent. */
  readonly system?: InstalledSystem;
  readonly program?: AgentProgram;
}

/**
 * Found by the agent; shown, compared from boot to boot, and used to choose the target disk.
 * What a machine does not tell is left out.
 */
export interface Hardware {
  readonly model: string;
  readonly serial?: string;
  readonly uuid?: string;
  readonly cpuModel?: string;
  /** Physical cores. */
  readonly cores?: number;
  /** Threads the agent may use. */
  readonly cpus: number;
  /** What the kernel has for use. */
  readonly memoryMiB: number;
  readonly memoryModules?: readonly MemoryModule[];
  readonly disks: readonly Disk[];
  readonly interfaces: readonly NetworkInterface[];
  readonly firmware?: readonly FirmwareVersion[];
  /** Of the hottest sensor. */
  readonly temperatureCelsius?: number;
}

/** A module of memory, as SMBIOS tells (type 17). Empty sockets are left out. */
export interface MemoryModule {
  /** Socket: `DIMM_A1`. */
  readonly socket: string;
  readonly sizeMiB: number;
  readonly type?: string;
  /** Million transfers per second. */
  readonly speedMTs?: number;
  readonly manufacturer?: string;
  readonly part?: string;
  readonly serial?: string;
}

export interface NetworkInterface {
  readonly name: string;
  readonly mac: string;
  readonly driver?: string;
  /** While it has a carrier. */
  readonly speedMbps?: number;
}

/** Something that is flashed: `BIOS`, `bootloader`. */
export interface FirmwareVersion {
  readonly name: string;
  readonly version: string;
  /** As it is written there. */
  readonly date?: string;
}

export interface Disk {
  /** Kernel name without /dev: `vda`, `mmcblk0`, `nvme0n1`. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly model?: string;
  readonly serial?: string;
  readonly removable: boolean;
  readonly rotational?: boolean;
  readonly health?: DiskHealth;
  readonly contents?: DiskContents;
  /** Said by the server, never by an agent: no job may write it. */
  readonly protection?: Protection;
}

export interface DiskHealth {
  /** The disk's own word: `false` means that it expects to fail. */
  readonly passed?: boolean;
  /** Of its rated life; may pass 100. */
  readonly wearPercent?: number;
  readonly powerOnHours?: number;
  readonly temperatureCelsius?: number;
  /** Plain words: `8 sectors reallocated`. */
  readonly faults?: readonly string[];
}

/** What is on a disk before anything is written. */
export interface DiskContents {
  /** `blank`: its first and last MiB hold nothing. `unknown`: data of no known kind, perhaps encrypted. */
  readonly kind: "blank" | "known" | "unknown";
  /** For people: `GPT with 3 partitions: FAT, ext, NTFS`. */
  readonly text: string;
  /** `gpt:<disk GUID>` or `mbr:<disk id>`. */
  readonly id?: string;
}

/** The disk of the last install, as it was when the install ended. */
export interface InstalledDisk {
  readonly name: string;
  readonly serial?: string;
  readonly contentsId?: string;
  /** Absent: it has one root, and a system can only be replaced by an install. */
  readonly slots?: InstalledSlots;
}

export interface InstalledSlots {
  /** The one that boots by itself. */
  readonly active: RootSlot;
  /** Of each root partition. */
  readonly rootBytes: number;
  /** Where the data partition is mounted. */
  readonly data: string;
  readonly bootloader: "grub" | "raspberry-pi";
  /** PARTUUIDs, by which the server names a root to a Raspberry Pi that tries it. */
  readonly roots?: Readonly<Record<RootSlot, string>>;
}

/** What an installed system knows of where it comes from. */
export interface InstalledSystem {
  readonly image: ImageDigest;
  /** The task that wrote it. */
  readonly madeBy: TaskId;
  readonly slot?: RootSlot;
}

/** Somebody's word that this is not to be written. */
export interface Protection {
  readonly reason: string;
  readonly by: string;
  readonly at: Instant;
}

/** What the rules said when the node was trusted. */
export interface RuleOutcome {
  /** The rule that matched. */
  readonly name?: string;
  /** What came of it, for people. */
  readonly text: string;
  /** The burn-in comes first: what the rule installs follows when it was passed. */
  readonly isTesting?: true;
  /** Nothing has come of it yet: the rules are asked again with each call of the node. */
  readonly isWaiting?: true;
  readonly at: Instant;
  readonly jobId?: JobId;
}

/** The last test of the hardware that came to an end. */
export interface BurnIn {
  readonly at: Instant;
  readonly seconds: number;
  readonly results: readonly BurnInResult[];
}
export interface BurnInResult {
  /** `memory`, `cpu`, `disk vda`. */
  readonly part: string;
  readonly passed: boolean;
  /** What was done, or what was wrong. */
  readonly text: string;
}

export interface NextCertificate {
  readonly fingerprint: string;
  readonly until: Instant;
}

export interface EnrolmentAsk {
  /** Eight letters that tell the key from another, also shown on the node's console. */
  readonly code: string;
  readonly address: Ipv4Address;
  /** When it asked last. */
  readonly at: Instant;
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
  /** What it hears of the switch it hangs on: its own word. */
  readonly switchPorts?: SwitchPorts;
  /** Image on its disk, once installed. */
  readonly image?: ImageDigest;
  /** Fingerprints of the installed system's SSH host keys, `SHA256:…`, recorded at install. */
  readonly sshHostKeys?: readonly string[];
  /** sha-256 fingerprint of the node's certificate, in hex; a new enrolment or a renewal replaces it. */
  readonly certificate?: string;
  /** It is refused from then on; renewed in time by the agent. */
  readonly certificateUntil?: Instant;
  /** Issued at a renewal; takes the other one's place when the node first shows it. */
  readonly nextCertificate?: NextCertificate;
  /** Keys that asked to enrol in the node's name and were refused, oldest first: an admin may approve one. */
  readonly asks?: readonly EnrolmentAsk[];
  readonly installedDisk?: InstalledDisk;
  /** Names given by people, for selectors and rules; sorted. */
  readonly tags?: readonly string[];
  /** No job may write its disks. */
  readonly protection?: Protection;
  /** Set once, when the node is trusted; gone when it is retired. */
  readonly rule?: RuleOutcome;
  readonly burnIn?: BurnIn;
  readonly createdAt: Instant;
  readonly updatedAt: Instant;
}
