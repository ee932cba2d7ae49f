/**
 * What a person says about a learning that has ended: a board that moved, a board
 * that was exchanged, two boards of one outlet that are the other way round.
 * Each answer is one change of the journal: record, reservations and nodes.
 */

import { type Ipv4Address, type MacAddress, parseIpv4Address } from "#protocol/brand.ts";
import type { LearningQuestion, LearningRecord, Seat } from "#protocol/learning.ts";
import { isSameSlot, type SlotRef, slotText } from "#protocol/node.ts";
import type { Rack } from "#protocol/rack.ts";
import type { Subnet } from "../../config.ts";
import { ConflictError, InvalidInputError } from "../../errors.ts";
import { contains } from "../../lease/leases.ts";
import type { Reservation } from "../../store/store.ts";
import type { LearningContext } from "./context.ts";
import { slotOf } from "./groups.ts";
import { unplace } from "./placing.ts";

/** A board gets a slot; whoever has it and gets none leaves it. */
interface Move {
  readonly mac: MacAddress;
  readonly slot: SlotRef;
  /** Where it asked, for a board without an address. */
  readonly subnet?: string;
  /** Gone for good, be it here or elsewhere: it leaves its address to this one. */
  readonly replaces?: MacAddress;
}

export interface Answer {
  /** One line for each change. */
  readonly done: readonly string[];
}

/**
 * Says yes to questions, and that boards are in the slots they were given by order.
 *
 * @param targets - `all`, a stack `a`, a slot `a/1`, or a MAC address
 * @throws InvalidInputError naming the target that nothing is asked about
 */
export function confirm(
  record: LearningRecord,
  rack: Rack,
  targets: readonly string[],
  context: LearningContext,
): Answer {
  const questions = targets.flatMap((target) =>
    record.questions.filter(({ mac, slot }) => isMeant(target, mac, slot)),
  );
  const macs = new Set(
    targets.flatMap((target) =>
      seatsOf(record)
        .filter(({ seat, slot }) => seat.by === "order" && isMeant(target, seat.mac, slot))
        .map(({ seat }) => seat.mac),
    ),
  );
  for (const target of targets) checkAsked(target, record);
  const moves = [...new Set(questions)].map(moveOf);
  const confirmed = {
    ...withSeats(record, (seat) => (macs.has(seat.mac) ? { ...seat, by: "person" } : seat)),
    unconfirmed: record.unconfirmed.filter((mac) => !macs.has(mac)),
  };
  const said = [...macs].map((mac) => `${mac} is confirmed`);
  const moved = rearrange(withoutQuestions(confirmed, questions), rack, moves, context);
  return { done: [...said, ...moved] };
}

function moveOf({ mac, slot, subnet, holder, twin }: LearningQuestion): Move {
  const replaces = holder ?? twin;
  return { mac, slot, subnet, ...(replaces && { replaces }) };
}

/** Says no: everything stays as it was. @throws InvalidInputError */
export function keep(
  record: LearningRecord,
  targets: readonly string[],
  { store }: LearningContext,
): Answer {
  const questions = targets.flatMap((target) => {
    const found = record.questions.filter(({ mac, slot }) => isMeant(target, mac, slot));
    if (found.length === 0) throw nothingAsked(target, record);
    return found;
  });
  store.learnings.put(withoutQuestions(record, questions));
  return { done: questions.map(({ mac }) => `${mac} stays as it was`) };
}

/** Exchanges the boards of two slots; one of them may be empty. @throws InvalidInputError */
export function swap(
  record: LearningRecord,
  rack: Rack,
  slots: readonly [string, string],
  context: LearningContext,
): Answer {
  const [one, other] = [slotNamed(slots[0], rack), slotNamed(slots[1], rack)];
  const [first, second] = [boardIn(one, context), boardIn(other, context)];
  if (isSameSlot(one, other))
    throw new InvalidInputError(`${slots[0]} and ${slots[1]} are one slot`);
  if (!first && !second) throw new InvalidInputError(`${slots[0]} and ${slots[1]} are both empty`);
  const moves = [first && { mac: first, slot: other }, second && { mac: second, slot: one }];
  return { done: rearrange(record, rack, moves.filter(isMove), context) };
}

/** A person found the board of a MAC address. @throws InvalidInputError, ConflictError */
export function place(
  record: LearningRecord,
  rack: Rack,
  { mac, slot: name }: { readonly mac: MacAddress; readonly slot: string },
  context: LearningContext,
): Answer {
  const slot = slotNamed(name, rack);
  const holder = boardIn(slot, context);
  if (holder === mac) throw new InvalidInputError(`${mac} is in ${slotText(slot)} already`);
  if (holder) {
    throw new ConflictError(
      `slot ${slotText(slot)} has ${holder}: swap it, or retire its node first`,
    );
  }
  const seen = [
    ...record.strangers,
    ...record.unknown,
    ...record.groups.flatMap(({ heard }) => heard),
  ];
  const subnet = seen.find((one) => one.mac === mac)?.subnet;
  const without = withoutQuestions(
    record,
    record.questions.filter((question) => question.mac === mac),
  );
  return { done: rearrange(without, rack, [{ mac, slot, ...(subnet && { subnet }) }], context) };
}

function isMove(move: Move | undefined): move is Move {
  return move !== undefined;
}

/** All moves at once: two boards may change places. */
function rearrange(
  record: LearningRecord,
  rack: Rack,
  moves: readonly Move[],
  context: LearningContext,
): readonly string[] {
  const { store } = context;
  return store.transaction(() => {
    const before = new Map(moves.map(({ mac }) => [mac, store.reservations.byMac(mac)]));
    const inherited = new Map(
      moves.map(({ mac, replaces }) => [mac, replaces && store.reservations.byMac(replaces)]),
    );
    for (const move of moves) clear(move, moves, context);
    for (const { mac } of moves) unplace(mac, context);
    for (const move of moves) {
      if (addressOf(move, rack, before, inherited) !== before.get(move.mac)?.address) {
        context.leases.forget(move.mac);
      }
    }
    const done = moves.map((move) => {
      const address = addressOf(move, rack, before, inherited);
      const { mac, slot } = move;
      const hostname = slotOf(rack, slot)?.hostname ?? slotText(slot).replaceAll("/", "-");
      const subnet = subnetOf(move, address, context);
      const made = context.leases.reserve({
        mac,
        subnet,
        hostname,
        slot,
        ...(address && { address }),
      });
      context.nodes.place(mac, slot, hostname, made.address);
      return { ...move, address: made.address };
    });
    store.learnings.put(done.reduce(withMove, record));
    return done.map(
      ({ mac, slot, address }) => `${mac} is in ${slotText(slot)} and has ${address}`,
    );
  });
}

/** Whoever has the slot and does not move itself leaves it. @throws ConflictError while it has a task */
function clear({ slot, replaces }: Move, moves: readonly Move[], context: LearningContext): void {
  const gone = replaces && context.store.nodes.byMac(replaces);
  if (gone) {
    context.nodes.retire(gone.id);
    context.leases.forget(gone.mac);
  }
  const holder = boardIn(slot, context);
  if (!holder || moves.some(({ mac }) => mac === holder)) return;
  unplace(holder, context);
  const reservation = context.store.reservations.byMac(holder);
  if (!reservation) return;
  const { slot: _, hostname: __, ...rest } = reservation;
  context.store.reservations.put(rest);
}

/** The slot's own, the one of the board it replaces, the board's: in this order. */
function addressOf(
  { mac, slot }: Move,
  rack: Rack,
  before: ReadonlyMap<MacAddress, Reservation | undefined>,
  inherited: ReadonlyMap<MacAddress, Reservation | undefined>,
) {
  const named = slotOf(rack, slot)?.address;
  if (named !== undefined) return parseIpv4Address(named);
  return inherited.get(mac)?.address ?? before.get(mac)?.address;
}

function subnetOf(
  { mac, subnet: cidr }: Move,
  address: Reservation["address"] | undefined,
  { subnets }: LearningContext,
): Subnet {
  const found = subnets.find((one) =>
    address === undefined ? one.cidr === cidr : contains(one, address),
  );
  if (found) return found;
  throw new InvalidInputError(
    address === undefined
      ? `${mac} was not heard in this learning: it is not known which subnet it is in`
      : `${address} is in no subnet of the configuration`,
  );
}

function withMove(
  record: LearningRecord,
  { mac, slot, address }: Move & { readonly address: Ipv4Address },
): LearningRecord {
  return {
    ...record,
    unconfirmed: record.unconfirmed.filter((one) => one !== mac),
    groups: record.groups.map((group) => {
      const others = group.seats.filter(
        (seat) => seat.mac !== mac && !(group.stack === slot.stack && seat.slot === slot.slot),
      );
      const isHere = group.stack === slot.stack && group.slots.includes(slot.slot);
      const seat: Seat = { slot: slot.slot, mac, address, by: "person", state: "placed" };
      return { ...group, seats: isHere ? [...others, seat] : others };
    }),
  };
}

function withSeats(record: LearningRecord, change: (seat: Seat) => Seat): LearningRecord {
  return {
    ...record,
    groups: record.groups.map((group) => ({ ...group, seats: group.seats.map(change) })),
  };
}

function withoutQuestions(
  record: LearningRecord,
  answered: readonly LearningQuestion[],
): LearningRecord {
  return { ...record, questions: record.questions.filter((one) => !answered.includes(one)) };
}

function seatsOf({ rack, groups }: LearningRecord) {
  return groups.flatMap(({ stack, seats }) =>
    seats.map((seat) => ({ seat, slot: { rack, stack, slot: seat.slot } })),
  );
}

function boardIn(slot: SlotRef, { store }: LearningContext): MacAddress | undefined {
  const isHere = (one: { readonly slot?: SlotRef }) => one.slot && isSameSlot(one.slot, slot);
  return (store.nodes.list().find(isHere) ?? store.reservations.list().find(isHere))?.mac;
}

function isMeant(target: string, mac: MacAddress, { rack, stack, slot }: SlotRef): boolean {
  const names = ["all", stack, `${stack}/${slot}`, `${rack}/${stack}`, `${rack}/${stack}/${slot}`];
  return names.includes(target) || target.toLowerCase() === mac;
}

function checkAsked(target: string, record: LearningRecord): void {
  const isAsked =
    record.questions.some(({ mac, slot }) => isMeant(target, mac, slot)) ||
    seatsOf(record).some(({ seat, slot }) => isMeant(target, seat.mac, slot));
  if (!isAsked) throw nothingAsked(target, record);
}

function nothingAsked(target: string, record: LearningRecord): InvalidInputError {
  const asked = [
    ...record.questions.map(({ mac }) => mac),
    ...seatsOf(record)
      .filter(({ seat }) => seat.by === "order")
      .map(({ slot }) => `${slot.stack}/${slot.slot}`),
  ];
  const what = asked.length === 0 ? "nothing is" : `asked is about ${asked.slice(0, 8).join(" ")}`;
  return new InvalidInputError(`nothing is asked about ${JSON.stringify(target)}: ${what}`);
}

/** @throws InvalidInputError */
function slotNamed(text: string, rack: Rack): SlotRef {
  const parts = text.split("/");
  const [stack, slot] = parts.length === 3 && parts[0] === rack.name ? parts.slice(1) : parts;
  if (parts.length <= 3 && stack !== undefined && slot !== undefined) {
    const ref = { rack: rack.name, stack, slot };
    if (slotOf(rack, ref)) return ref;
  }
  throw new InvalidInputError(
    `rack ${rack.name} has no slot ${JSON.stringify(text)}: write STACK/SLOT`,
  );
}
