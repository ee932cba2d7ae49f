/** Gives a board that was heard a second time its slot: reservation, node and record in one change. */

import type { MacAddress } from "#protocol/brand.ts";
import type { LearningRecord, Seat } from "#protocol/learning.ts";
import { type SlotRef, slotText } from "#protocol/node.ts";
import type { Rack } from "#protocol/rack.ts";
import type { Subnet } from "../../config.ts";
import { ConflictError } from "../../errors.ts";
import type { ReservationRequest } from "../../lease/leases.ts";
import { nameOfMac } from "../../node/identity.ts";
import type { Reservation } from "../../store/store.ts";
import type { LearningContext } from "./context.ts";
import { slotOf } from "./groups.ts";
import { withGroup } from "./ledger.ts";

export interface Placed {
  readonly record: LearningRecord;
  readonly reservation: Reservation;
  readonly slot: SlotRef;
}

type Rooms = Pick<LearningContext, "store" | "leases" | "nodes">;

/** @throws ConflictError when its name belongs to another node, PoolExhaustedError */
export function placeSeat(
  record: LearningRecord,
  index: number,
  seat: Seat,
  { rack, subnet, rooms }: { readonly rack: Rack; readonly subnet: Subnet; readonly rooms: Rooms },
): Placed {
  const { mac } = seat;
  const stack = record.groups[index]?.stack ?? "";
  const slot = { rack: record.rack, stack, slot: seat.slot };
  const hostname = slotOf(rack, slot)?.hostname ?? slotText(slot).replaceAll("/", "-");
  return rooms.store.transaction(() => {
    const reservation = reserve({ mac, subnet, hostname, slot }, seat.address, rooms);
    rooms.nodes.place(mac, slot, hostname, reservation.address);
    const { address } = reservation;
    const after = withSeat(record, index, { ...seat, address, state: "placed" });
    rooms.store.learnings.put(after);
    return { record: after, reservation, slot };
  });
}

/** It leaves its slot. */
export function unplace(mac: MacAddress, { store, nodes }: Pick<Rooms, "store" | "nodes">): void {
  const node = store.nodes.byMac(mac);
  if (node?.slot) nodes.update(node.id, { slot: undefined, name: nameOfMac(mac) });
}

/**
 * It was never in the slot that this run gave it: address and name were another's, and what the
 * rules said of that slot counts for nothing.
 */
export function displace(mac: MacAddress, rooms: Rooms): void {
  const node = rooms.store.nodes.byMac(mac);
  if (node?.state === "ready" && node.rule?.jobId === undefined) {
    rooms.nodes.update(node.id, { state: "enrolled", rule: undefined });
  }
  unplace(mac, rooms);
  rooms.leases.forget(mac);
}

export function withSeat(record: LearningRecord, index: number, seat: Seat): LearningRecord {
  const seats = record.groups[index]?.seats ?? [];
  return withGroup(record, index, {
    seats: seats.map((one) => (one.mac === seat.mac ? seat : one)),
  });
}

/** The planned address, unless somebody has taken it since. */
function reserve(
  request: ReservationRequest,
  address: Seat["address"],
  { leases }: Rooms,
): Reservation {
  try {
    return leases.reserve({ ...request, ...(address && { address }) });
  } catch (error) {
    if (!(error instanceof ConflictError)) throw error;
    return leases.reserve(request);
  }
}
