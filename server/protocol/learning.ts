/**
 * Learning a rack: what the journal keeps of one run, and what people are told of it.
 * How it works is in `server/enrol/learning/`.
 */

import type { Instant, Ipv4Address, MacAddress } from "./brand.ts";
import type { FirmwareName } from "./firmware.ts";
import type { PowerState, SlotRef } from "./node.ts";

export interface LearningOptions {
  /** Time the boards behind an outlet get to be heard. */
  readonly slotTimeoutSeconds: number;
  /** The same for those that were not heard in it, tried again alone when all others are through. */
  readonly lateTimeoutSeconds: number;
  /** Listening with every outlet off, to know who speaks without their power. */
  readonly quietSeconds: number;
  /** After an outlet went off, and after its last board was heard: what comes then is nobody's. */
  readonly settleSeconds: number;
}

export type LearningState = "running" | "done" | "failed" | "cancelled";

/** What is done now; written before it is begun, and done again after a restart. */
export type LearningStep =
  /** Which outlets are on is asked, to be put right at the end. */
  | { readonly kind: "look" }
  | { readonly kind: "off" }
  | { readonly kind: "quiet" }
  /** One group is on, alone. */
  | { readonly kind: "observe"; readonly group: number }
  /** Every group with boards that were heard is on: who is heard a second time is placed. */
  | { readonly kind: "wake" }
  /** Boards that were placed boot, and tell the ports they hear of. */
  | { readonly kind: "ports" }
  /** Outlets that were on before and are not get their power back. */
  | { readonly kind: "restore"; readonly end: "done" | "failed" | "cancelled" };

export type OutletFault = "stuck-on" | "stuck-off" | "inverted" | "bouncing" | "power";

/** A board that was heard while its group alone was on. */
export interface Sighting {
  readonly mac: MacAddress;
  /** CIDR of the subnet it asked in. */
  readonly subnet: string;
  /** Numbers of the on-times it was heard in. */
  readonly tries: readonly number[];
  /** It was silent in an earlier on-time that ran to its end. */
  readonly late?: true;
  readonly firmware?: FirmwareName;
  readonly serial?: string;
  readonly uuid?: string;
  /** Where it hangs, as something better than time tells. */
  readonly port?: string;
  /** It was waited for to tell its port itself. */
  readonly isAsked?: true;
}

/** A board and the slot it is to have. */
export interface Seat {
  readonly slot: string;
  readonly mac: MacAddress;
  readonly address?: Ipv4Address;
  /** `order`: nothing but the order in which the boards of one outlet were heard. */
  readonly by: "outlet" | "port" | "known" | "order" | "person";
  /** Placed: heard a second time; its reservation and its node say so too. */
  readonly state: "expected" | "placed";
  /** Why it cannot be placed. */
  readonly refused?: string;
}

/** One outlet and the slots behind it: a stack, or a slot. */
export interface LearningGroup {
  readonly stack: string;
  readonly slots: readonly string[];
  /** The rack file says on which port of the switch its boards hang. */
  readonly hasPorts?: true;
  /** Before learning began. */
  readonly before: PowerState;
  /** On-times begun. */
  readonly tries: number;
  /** On-times that ended with somebody missing. */
  readonly timedOut: number;
  /** What makes that its boards cannot be learned. */
  readonly fault?: { readonly reason: OutletFault; readonly text: string };
  /** It went off and on by itself when it was switched on. */
  readonly isBouncing?: true;
  /** In the order first heard. */
  readonly heard: readonly Sighting[];
  readonly seats: readonly Seat[];
}

/** A MAC address that spoke while no outlet that obeys could have powered it; or of which too little is known. */
export interface Stranger {
  readonly mac: MacAddress;
  readonly subnet: string;
  /** When: for people. */
  readonly during: string;
  readonly port?: string;
  /** Its port gave it a seat, and it was not heard when that had power. */
  readonly wasSilent?: true;
}

/** Something only a person knows. */
export interface LearningQuestion {
  /** `moved`: the board has another slot. `swapped`: the slot has another board. */
  readonly kind: "moved" | "swapped";
  readonly mac: MacAddress;
  readonly subnet: string;
  /** Where it was heard. */
  readonly slot: SlotRef;
  /** The slot the board has. */
  readonly from?: SlotRef;
  /** The board the slot has. */
  readonly holder?: MacAddress;
  /** What the board was called before, when only its serial number or UUID is known. */
  readonly twin?: MacAddress;
}

export interface LearningRecord {
  readonly id: string;
  readonly rack: string;
  /** sha-256 of the rack as it was at the start: a run is not taken up again for another rack. */
  readonly rackDigest: string;
  readonly who: string;
  readonly options: LearningOptions;
  readonly startedAt: Instant;
  readonly endedAt?: Instant;
  readonly state: LearningState;
  /** Why it failed; what a cancelled one left. */
  readonly reason?: string;
  readonly step: LearningStep;
  /** Somebody was observed since the last quiet time. */
  readonly isQuietDue: boolean;
  readonly groups: readonly LearningGroup[];
  readonly strangers: readonly Stranger[];
  /** Heard once only, or while more than one outlet was on: what they are is not known. */
  readonly unknown: readonly Stranger[];
  /** Boards that have their slot from an earlier run, by nothing but the order they were heard in. */
  readonly unconfirmed: readonly MacAddress[];
  readonly questions: readonly LearningQuestion[];
}

export const flagReasons = [
  "late",
  "dead",
  "foreign",
  "too-many",
  "stuck-on",
  "stuck-off",
  "inverted",
  "bouncing",
  "power",
  "moved",
  "swapped",
  "cabling",
  "conflict",
  "unconfirmed",
  "cancelled",
] as const;
export type FlagReason = (typeof flagReasons)[number];

/** Something a person should look at. */
export interface Flag {
  readonly reason: FlagReason;
  readonly text: string;
  /** What to do about it. */
  readonly remedy?: string;
  readonly stack?: string;
  readonly slot?: SlotRef;
  readonly mac?: MacAddress;
  /** How it can be answered: `learn confirm`, `learn keep`, `learn swap`, `learn place`. */
  readonly answers: readonly FlagAnswer[];
}

export type FlagAnswer = "confirm" | "keep" | "swap" | "place";

export type SlotLearning =
  | { readonly state: "waiting" | "listening"; readonly slot: SlotRef }
  /** Heard once; it is placed when it is heard again. */
  | { readonly state: "seen"; readonly slot: SlotRef; readonly mac: MacAddress }
  /** Placed. `warning`: something needs a person's look. */
  | {
      readonly state: "heard";
      readonly slot: SlotRef;
      readonly mac: MacAddress;
      readonly address: Ipv4Address;
      readonly warning?: string;
    }
  | { readonly state: "flagged"; readonly slot: SlotRef; readonly reason: string };

export interface LearningStatus {
  readonly state: "idle" | LearningState;
  readonly id?: string;
  readonly rack?: string;
  readonly startedAt?: Instant;
  readonly endedAt?: Instant;
  /** Why it failed, or what a cancelled one left. */
  readonly reason?: string;
  /** What is done now. */
  readonly doing?: string;
  /** When that ends at the latest. */
  readonly until?: Instant;
  /** Slots that are through, of all. */
  readonly progress?: { readonly done: number; readonly total: number };
  /** In the order they are powered. */
  readonly slots: readonly SlotLearning[];
  readonly flagged: readonly Flag[];
}

/** What a start would do. */
export interface LearningPreview {
  /** In the order they are switched on. */
  readonly outlets: readonly string[];
  readonly slots: number;
  /** Nodes whose power goes off. */
  readonly nodes: readonly string[];
  /** If every board is dead. */
  readonly secondsAtMost: number;
}
