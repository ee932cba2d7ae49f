/**
 * Boards that were placed have booted, and tell the switch ports they hear of (evidence/lldp.ts).
 *
 * A port that agrees with the slot confirms it. One that does not takes the slot away again, with
 * those of the boards that got theirs by order beside it; the plan then decides anew, and they are
 * switched off and on once more. What a person or an earlier run said becomes a question.
 */

import { type MacAddress, type Milliseconds, milliseconds } from "#protocol/brand.ts";
import type { LearningGroup, LearningRecord, Seat } from "#protocol/learning.ts";
import type { Node } from "#protocol/node.ts";
import type { Rack } from "#protocol/rack.ts";
import type { Clock } from "../../clock.ts";
import { portsHeard } from "./evidence/lldp.ts";
import { portSlot } from "./evidence/port.ts";
import { toBeAsked } from "./ledger.ts";

/** From an agent's first call: a switch speaks each 30 s, and one frame may be lost. */
const portPatience = milliseconds(65_000);

export interface PortFacts {
  readonly rack: Rack;
  nodeOf(mac: MacAddress): Node | undefined;
}

/** What was told in this run; a port heard before the power went off may be another's now. */
function portsTold(record: LearningRecord, { rack, nodeOf }: PortFacts) {
  const macs = record.groups.flatMap(({ heard }) => heard.map(({ mac }) => mac));
  const told = macs.flatMap((mac) => {
    const { agent, switchPorts } = nodeOf(mac) ?? {};
    if (!switchPorts || switchPorts.bootId !== agent?.bootId) return [];
    return switchPorts.at < record.startedAt ? [] : [[mac, switchPorts.heard] as const];
  });
  return portsHeard(rack, new Map(told));
}

/** Who is still waited for, each time it is asked; nobody in the end. */
export function portWait(
  record: LearningRecord,
  facts: PortFacts,
  clock: Pick<Clock, "monotonic">,
): { readonly asked: number; pending(): number; atMost(): Milliseconds } {
  const asked = record.groups.flatMap(toBeAsked).map(({ mac }) => mac);
  const began = clock.monotonic();
  const longest = record.options.lateTimeoutSeconds * 1000 + portPatience;
  const called = new Map<MacAddress, number>();
  return {
    asked: asked.length,
    atMost: () => milliseconds(Math.max(0, Math.round(began + longest - clock.monotonic()))),
    pending() {
      const now = clock.monotonic();
      if (now - began >= longest) return 0;
      const told = portsTold(record, facts);
      const waiting = asked.filter((mac) => {
        const { agent, connection } = facts.nodeOf(mac) ?? {};
        const isHere = connection === "online" && agent && agent.since >= record.startedAt;
        if (isHere && !called.has(mac)) called.set(mac, now);
        return !told.has(mac) && now - (called.get(mac) ?? now) < portPatience;
      });
      return waiting.length;
    },
  };
}

export interface PortsApplied {
  readonly record: LearningRecord;
  /** Boards that lose the slots this run gave them. */
  readonly displaced: readonly MacAddress[];
}

/** @param isAtWork - groups whose boards have tasks: their slots stay, and are flagged */
export function withPortsTold(
  record: LearningRecord,
  facts: PortFacts,
  isAtWork: (group: LearningGroup) => boolean,
): PortsApplied {
  const told = portsTold(record, facts);
  const placeOf = (mac: MacAddress) => portSlot(facts.rack, told.get(mac));
  const displaced: MacAddress[] = [];
  const confirmed: MacAddress[] = [];
  const isGuess = ({ mac, by }: Seat) => by === "order" && !record.unconfirmed.includes(mac);
  const groups = record.groups.map((group): LearningGroup => {
    const asked = toBeAsked(group);
    if (asked.length === 0) return group;
    const heard = group.heard.map((one) => {
      const port = asked.includes(one) ? told.get(one.mac) : undefined;
      const isAsked = asked.includes(one) && { isAsked: true as const };
      return { ...one, ...isAsked, ...(port !== undefined && { port }) };
    });
    const isWrong = ({ mac, slot }: Seat) => {
      const there = placeOf(mac);
      return there !== undefined && !(there.stack === group.stack && there.slot === slot);
    };
    const isMoving = group.seats.some(isWrong) && !isAtWork(group);
    const seats = group.seats.flatMap((seat): readonly Seat[] => {
      const isGone = isMoving && (isWrong(seat) || (isGuess(seat) && !placeOf(seat.mac)));
      if (isGone) {
        if (isGuess(seat) || seat.by === "outlet") displaced.push(seat.mac);
        return [];
      }
      if (isWrong(seat) || !placeOf(seat.mac)) return [seat];
      confirmed.push(seat.mac);
      return seat.by === "order" || seat.by === "outlet" ? [{ ...seat, by: "port" }] : [seat];
    });
    return { ...group, heard, seats: withLastOne(seats, group, isGuess) };
  });
  const unconfirmed = record.unconfirmed.filter((mac) => !confirmed.includes(mac));
  return { record: { ...record, groups, unconfirmed }, displaced };
}

/** When all others are known, the last slot is the last board's. */
function withLastOne(
  seats: readonly Seat[],
  { slots }: LearningGroup,
  isGuess: (seat: Seat) => boolean,
): readonly Seat[] {
  const [last, ...others] = seats.filter(({ by }) => by === "order");
  const isSure = last && isGuess(last) && others.length === 0 && seats.length === slots.length;
  return seats.map((seat) => (isSure && seat === last ? { ...seat, by: "outlet" } : seat));
}
