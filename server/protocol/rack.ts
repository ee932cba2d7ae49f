/**
 * The rack file: what the admin wrote about the frame, its stacks and their slots.
 * Parsed (YAML, line numbers in errors) by `server/rack/rack-file.ts`.
 */

import type { Rule } from "./rule.ts";
import type { Finding } from "./timeline.ts";

/**
 * One switched power output. `settings` is checked by the driver named in `driver`.
 * Its secret members are {@link SealedSecret} in the journal and {@link KeptSecret} in answers.
 */
export interface Outlet {
  readonly driver: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

/** A secret as the journal has it: encrypted, base64url. */
export interface SealedSecret {
  readonly sealed: string;
}

/** Instead of a secret: the server has one. Sent back, it means that one. */
export interface KeptSecret {
  readonly kept: true;
}

export interface Slot {
  readonly name: string;
  /** Host name of the node in this slot; by default as {@link Rack.hostnames} says. */
  readonly hostname: string;
  /**
   * IPv4 address reserved for it, written or from an address plan; default: the
   * next free one of the subnet's reserved range.
   */
  readonly address?: string;
  /** Port of the switch it hangs on, as DHCP option 82 or the switch itself names it. */
  readonly port?: string;
  readonly outlet?: Outlet;
}

export interface Stack {
  readonly name: string;
  /** Column and row in the drawing of the rack, from 0, left and top first. */
  readonly x: number;
  readonly y: number;
  /** CIDR of the configured subnet its nodes are on; default: the rack's. */
  readonly subnet?: string;
  /** Its slots have this address and the following ones. */
  readonly firstAddress?: string;
  /** Set where one outlet powers the whole stack; else every slot has its own. */
  readonly outlet?: Outlet;
  readonly slots: readonly Slot[];
}

/** Slots are given addresses in the order they stand in the file. */
export interface AddressPlan {
  readonly first: string;
  /** Addresses from the first slot of a stack to the first of the next; default: as many as it has slots. */
  readonly perStack?: number;
}

/** What the rack's supply can bear; beside the site's own limits (`power` of the configuration). */
export interface RackPower {
  /** At most so many nodes are switched on within `onEverySeconds` (1). */
  readonly onAtOnce?: number;
  readonly onEverySeconds?: number;
  /** Least time off of outlets that do not say it themselves. */
  readonly offSeconds?: number;
}

export interface Rack {
  readonly name: string;
  /** CIDR of the configured subnet its nodes are on. */
  readonly subnet?: string;
  /** Pattern of host names; default `{rack}-{stack}-{slot}`. */
  readonly hostnames?: string;
  readonly addresses?: AddressPlan;
  readonly power?: RackPower;
  /** What its nodes get by themselves, where no rule of the server matches. */
  readonly rules?: readonly Rule[];
  readonly stacks: readonly Stack[];
}

export interface RackDifference {
  /** `lab/a/1 address`: slots are named, not counted. */
  readonly where: string;
  /** Undefined: it was not there. */
  readonly before?: string;
  /** Undefined: it will not be there. */
  readonly after?: string;
}

/** What would come of a file, and whether it fits this site. */
export interface RackReport {
  readonly name: string;
  /** Of the rack that the file was compared with; undefined when there is none yet. */
  readonly revision?: string;
  readonly differences: readonly RackDifference[];
  readonly findings: readonly Finding[];
}
