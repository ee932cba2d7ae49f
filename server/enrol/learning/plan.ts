/**
 * Which board gets which slot and address, once it is known who hangs on which
 * outlet. Pure. What is known from before stays; what only a person can know
 * becomes a question, and its board gets no seat.
 */

import {
  type Ipv4Address,
  ipv4FromNumber,
  ipv4ToNumber,
  type MacAddress,
  parseIpv4Address,
} from "#protocol/brand.ts";
import type {
  LearningGroup,
  LearningQuestion,
  LearningRecord,
  Seat,
  Stranger,
} from "#protocol/learning.ts";
import { isSameSlot, type Node, type SlotRef } from "#protocol/node.ts";
import type { Rack } from "#protocol/rack.ts";
import type { AddressRange } from "../../config.ts";
import type { Reservation } from "../../store/store.ts";
import { portSlot } from "./evidence/port.ts";
import { isShared, refsOf, slotOf, subnetOf } from "./groups.ts";
import { boardsOf, isExpected } from "./ledger.ts";
import { twinOf } from "./twin.ts";

export interface PlanFacts {
  readonly rack: Rack;
  readonly reservations: readonly Reservation[];
  readonly nodes: readonly Node[];
  /** Addresses a subnet (CIDR) reserves for nodes. */
  rangeOf(cidr: string): AddressRange | undefined;
}

/** A board: one of the group, or a stranger whose port tells where it is. */
type Board = Pick<Stranger, "mac" | "subnet" | "port">;

/** Seats and questions for every group whose boards are known. */
export function plan(record: LearningRecord, facts: PlanFacts): LearningRecord {
  const questions: LearningQuestion[] = [];
  const groups = record.groups.map((group) => {
    const seating = new Seating(group, record, facts);
    seating.byPort();
    seating.byMemory();
    seating.byOrder();
    questions.push(...seating.questions);
    return { ...group, seats: seating.seats };
  });
  const kept = record.questions.filter(
    ({ mac }) => !questions.some((question) => question.mac === mac),
  );
  return withAddresses({ ...record, groups, questions: [...kept, ...questions] }, facts);
}

/** Gives the boards of one group their slots, one kind of reason after the other. */
class Seating {
  readonly seats: Seat[];
  readonly questions: LearningQuestion[] = [];
  readonly #free: Set<string>;
  readonly #waiting: Map<MacAddress, Board>;
  readonly #group: LearningGroup;
  readonly #record: LearningRecord;
  readonly #facts: PlanFacts;

  constructor(group: LearningGroup, record: LearningRecord, facts: PlanFacts) {
    this.#group = group;
    this.#record = record;
    this.#facts = facts;
    this.seats = group.seats.filter((seat) => !isExpected(seat));
    const isTaken = (slot: string) => this.seats.some((seat) => seat.slot === slot);
    this.#free = new Set(group.slots.filter((slot) => !isTaken(slot)));
    const boards = group.fault ? [] : (boardsOf(group) ?? []);
    this.#waiting = new Map(
      boards
        .filter(({ mac }) => !this.seats.some((seat) => seat.mac === mac))
        .filter((board) => this.#isOnItsSubnet(board)) // else flagged
        .map((board) => [board.mac, board]),
    );
  }

  /** The port of the switch tells it, also for a board whose outlet cannot be switched off. */
  byPort(): void {
    const { strangers } = this.#record;
    const hopeful = strangers.filter((one) => isHopeful(one) && this.#isOnItsSubnet(one));
    for (const board of [...this.#waiting.values(), ...hopeful]) {
      const slot = portSlot(this.#facts.rack, board.port);
      if (!slot) continue;
      if (slot.stack === this.#group.stack && this.#free.has(slot.slot)) {
        this.#settle(board, slot, "port");
      } else this.#waiting.delete(board.mac); // its port says that it is elsewhere: flagged
    }
  }

  /** A board whose slot is here has that. */
  byMemory(): void {
    for (const board of [...this.#waiting.values()]) {
      const own = this.#slotOf(board.mac);
      if (own?.stack !== this.#group.stack || own.rack !== this.#record.rack) continue;
      if (!this.#free.has(own.slot)) continue;
      const isGuess = this.#record.unconfirmed.includes(board.mac);
      this.#settle(board, own, isGuess ? "order" : "known");
    }
  }

  /** The rest in the order heard; a slot that belongs to nobody before one whose board is missing. */
  byOrder(): void {
    const rest = refsOf(this.#record.rack, this.#group)
      .filter(({ slot }) => this.#free.has(slot))
      .sort((a, b) => Number(this.#isHeld(a)) - Number(this.#isHeld(b)));
    const isSure =
      !isShared(this.#group) || (rest.length === 1 && this.seats.every(({ by }) => by !== "order"));
    for (const board of [...this.#waiting.values()]) {
      const ref = rest.shift();
      if (ref) this.#settle(board, ref, isSure ? "outlet" : "order");
    }
  }

  #settle({ mac, subnet }: Board, slot: SlotRef, by: Seat["by"]): void {
    this.#waiting.delete(mac);
    this.#free.delete(slot.slot);
    const own = this.#slotOf(mac);
    const twin = own ? undefined : this.#twinOf(mac);
    const from = own ?? twin?.slot;
    const holder = this.#holderOf(slot);
    const asked = { mac, subnet, slot, ...(twin && { twin: twin.mac }) };
    if (from && !isSameSlot(from, slot)) {
      this.questions.push({ ...asked, kind: "moved", from });
    } else if (holder !== undefined && holder !== mac) {
      this.questions.push({ ...asked, kind: "swapped", holder });
    } else this.seats.push({ slot: slot.slot, mac, by, state: "expected" });
  }

  #isOnItsSubnet({ subnet }: Board): boolean {
    const wanted = subnetOf(this.#facts.rack, this.#group.stack);
    return wanted === undefined || wanted === subnet;
  }

  #slotOf(mac: MacAddress): SlotRef | undefined {
    return this.#facts.reservations.find((one) => one.mac === mac)?.slot;
  }

  #twinOf(mac: MacAddress): Node | undefined {
    const sighting = this.#group.heard.find((one) => one.mac === mac);
    return sighting && twinOf(sighting, this.#record, this.#facts.nodes);
  }

  #holderOf(slot: SlotRef): MacAddress | undefined {
    return this.#facts.reservations.find((one) => one.slot && isSameSlot(one.slot, slot))?.mac;
  }

  #isHeld(slot: SlotRef): boolean {
    return this.#holderOf(slot) !== undefined;
  }
}

function isHopeful({ port, wasSilent }: Stranger): boolean {
  return port !== undefined && !wasSilent;
}

/** In rack order, so that addresses follow slots; a slot nobody was heard in keeps one free. */
function withAddresses(record: LearningRecord, facts: PlanFacts): LearningRecord {
  return (
    addressed(record, facts, true) ?? addressed(record, facts, false) ?? record // the leases choose
  );
}

/** Undefined when the range of a subnet has not enough for all. */
function addressed(
  record: LearningRecord,
  { rack, reservations, rangeOf }: PlanFacts,
  withHoles: boolean,
): LearningRecord | undefined {
  const slots = rack.stacks.flatMap((stack) => stack.slots);
  const taken = new Set<string | undefined>([
    ...reservations.map(({ address }) => address),
    ...slots.map(({ address }) => address),
  ]);
  const next = (cidr: string | undefined): Ipv4Address | undefined => {
    const range = cidr === undefined ? undefined : rangeOf(cidr);
    if (!range) return undefined;
    const last = ipv4ToNumber(range.last);
    for (let number = ipv4ToNumber(range.first); number <= last; number++) {
      const address = ipv4FromNumber(number);
      if (taken.has(address)) continue;
      taken.add(address);
      return address;
    }
    return undefined;
  };
  const askedIn = (group: LearningGroup) => subnetOf(rack, group.stack) ?? group.heard[0]?.subnet;
  let subnet = record.groups.map(askedIn).find((one) => one !== undefined);
  let isShort = false;
  const groups = record.groups.map((group) => {
    subnet = askedIn(group) ?? subnet;
    const addresses = new Map(
      refsOf(record.rack, group).map((ref) => {
        const seat = group.seats.find(({ slot }) => slot === ref.slot);
        const named = slotOf(rack, ref)?.address;
        const own = reservations.find(
          ({ mac, slot }) => mac === seat?.mac || (!seat && slot && isSameSlot(slot, ref)),
        )?.address;
        const known = (named === undefined ? undefined : parseIpv4Address(named)) ?? own;
        if (known || (!seat && !withHoles)) return [ref.slot, known];
        const address = next(subnet);
        if (!address) isShort = true;
        return [ref.slot, address];
      }),
    );
    return {
      ...group,
      seats: group.seats.map((seat) => {
        const address = seat.address ?? addresses.get(seat.slot);
        return { ...seat, ...(address && { address }) };
      }),
    };
  });
  return isShort ? undefined : { ...record, groups };
}
