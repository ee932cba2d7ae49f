/**
 * Who has which address. Two kinds, told apart by the store:
 *
 *   reservation   an address that belongs to a hardware address for good
 *   lease         what a client was told, and until when; of a reserved address
 *                 or of one from the dynamic pool
 *
 * Every method writes to the store before it returns, so a reply is never sent
 * for an address that a power cut could make us forget. The pool skips every
 * reserved address, and the two ranges never overlap (config.ts).
 */

import {
  type Ipv4Address,
  ipv4FromNumber,
  ipv4ToNumber,
  type MacAddress,
  type Seconds,
  seconds,
} from "#protocol/brand.ts";
import type { SlotRef } from "#protocol/node.ts";
import type { Clock } from "../clock.ts";
import type { AddressRange, Subnet } from "../config.ts";
import { ConflictError, PoolExhaustedError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { LeaseRow, Reservation, Store } from "../store/store.ts";
import { type Lease, type LeaseEvent, next } from "./lease.ts";

/** How long an OFFER holds its address; EDK2's last retry comes after 41 s. */
const offerHold = seconds(60);
/** How long a declined address of the pool is left alone. */
const declineHold = seconds(600);

export interface ReservationRequest {
  readonly mac: MacAddress;
  readonly subnet: Subnet;
  /** Absent: the next free address of the subnet's reserved range. */
  readonly address?: Ipv4Address;
  readonly hostname?: string;
  readonly slot?: SlotRef;
}

export interface Leases {
  /**
   * Idempotent per hardware address; a named address moves an existing reservation.
   *
   * @throws ConflictError when another has the address, or it is outside the subnet.
   * @throws PoolExhaustedError when the reserved range is full.
   */
  reserve(request: ReservationRequest): Reservation;
  /** Ends the reservation and the lease. */
  forget(mac: MacAddress): void;
  reservationOf(mac: MacAddress): Reservation | undefined;
  reservations(): readonly Reservation[];

  /** Reserved, else offered or bound. */
  addressOf(mac: MacAddress): Ipv4Address | undefined;
  macOf(address: Ipv4Address): MacAddress | undefined;
  list(): readonly LeaseRow[];

  /**
   * Holds an address for a client: its own if it has one, else one of the pool.
   *
   * @param wish - an address the client asked for; honoured if free in the pool
   * @returns undefined for an unknown client where the subnet has no pool
   * @throws PoolExhaustedError when every address of the pool is taken.
   */
  offer(mac: MacAddress, subnet: Subnet, wish?: Ipv4Address): LeaseRow | undefined;
  /** `undefined`: the address is not this client's. */
  bind(mac: MacAddress, subnet: Subnet, address: Ipv4Address): LeaseRow | undefined;
  /** The client took another server's offer. */
  withdraw(mac: MacAddress): void;
  /** Only the holder's word counts; anyone else's changes nothing and gives false. */
  release(mac: MacAddress, address: Ipv4Address): boolean;
  decline(mac: MacAddress, address: Ipv4Address): boolean;
  /** Removes what has run out; called once in a while. */
  expire(): void;
  /**
   * Resolves when every change made so far is on stable storage: nothing that rests on one may
   * be told to anybody before. At once when there is none.
   *
   * @throws UnavailableError when the disk refuses; the changes are undone then.
   */
  committed(): Promise<void>;
}

export interface LeasesContext {
  readonly store: Store;
  readonly clock: Clock;
  readonly events: EventBus;
  /** Never handed out although inside a range: the server's own addresses. */
  readonly excluded?: readonly Ipv4Address[];
}

export function createLeases({ store, clock, events, excluded = [] }: LeasesContext): Leases {
  const publish = (
    mac: MacAddress,
    address: Ipv4Address,
    state: "bound" | "offered" | "released" | "declined" | "expired",
  ) => events.publish({ topic: "lease", mac, address, state });

  /** The lease as it is now: what has run out counts as free. */
  const current = (address: Ipv4Address): Lease => {
    const lease = toLease(address, store.leases.byAddress(address));
    return next(lease, { kind: "expire", at: clock.now() }) ?? lease;
  };
  const isTaken = (address: Ipv4Address) =>
    excluded.includes(address) ||
    store.reservations.byAddress(address) !== undefined ||
    current(address).state !== "free";

  /** Writes the lease that follows from `event`; undefined when the event changes nothing. */
  const change = (
    lease: Lease,
    event: Exclude<LeaseEvent, { kind: "expire" }>,
  ): LeaseRow | undefined => {
    const after = next(lease, event);
    if (!after) return undefined;
    if (after.state === "free") {
      store.leases.delete(after.address);
      return undefined;
    }
    const row = { address: after.address, mac: event.from, state: after.state, until: after.until };
    store.leases.put(row);
    return row;
  };
  /** Tells the others, once the change is on disk. */
  const durably = (work: () => LeaseRow | undefined): LeaseRow | undefined => {
    const row = store.transaction(work);
    if (row) publish(row.mac, row.address, row.state);
    return row;
  };

  const ownLease = (mac: MacAddress): LeaseRow | undefined => {
    const row = store.leases.byMac(mac);
    return row && row.state !== "declined" && row.until > clock.now() ? row : undefined;
  };
  /** A client has one address: the rows of its former ones go. */
  const dropOthers = (mac: MacAddress, keep: Ipv4Address | undefined) => {
    for (const row of store.leases.list()) {
      if (row.mac === mac && row.address !== keep && row.state !== "declined") {
        store.leases.delete(row.address);
      }
    }
  };

  const chooseReserved = ({ subnet, address, mac }: ReservationRequest): Ipv4Address => {
    if (address === undefined) {
      for (const one of addresses(subnet.reserved)) {
        if (one !== subnet.router && !isTaken(one)) return one;
      }
      throw new PoolExhaustedError(
        `no free address in ${subnet.reserved.first} - ${subnet.reserved.last} of ${subnet.cidr}`,
      );
    }
    if (!contains(subnet, address)) throw new ConflictError(`${address} is outside ${subnet.cidr}`);
    if (excluded.includes(address) || address === subnet.router) {
      throw new ConflictError(`${address} belongs to the server or the router`);
    }
    const holder = holderOf(address);
    if (holder !== undefined && holder !== mac) {
      throw new ConflictError(`${address} belongs to ${holder}`);
    }
    return address;
  };
  const holderOf = (address: Ipv4Address): MacAddress | undefined => {
    const reserved = store.reservations.byAddress(address);
    if (reserved) return reserved.mac;
    const lease = current(address);
    return lease.state === "offered" || lease.state === "bound" ? lease.holder : undefined;
  };

  const choosePooled = (mac: MacAddress, subnet: Subnet, wish: Ipv4Address | undefined) => {
    if (!subnet.pool) return undefined;
    const own = ownLease(mac)?.address;
    if (own && within(subnet.pool, own) && !store.reservations.byAddress(own)) return own;
    if (wish && within(subnet.pool, wish) && wish !== subnet.router && !isTaken(wish)) return wish;
    for (const one of addresses(subnet.pool)) {
      if (one !== subnet.router && !isTaken(one)) return one;
    }
    throw new PoolExhaustedError(
      `no free address in the pool ${subnet.pool.first} - ${subnet.pool.last} of ${subnet.cidr}`,
    );
  };

  /** The address this client may have in this subnet without a new one being chosen. */
  const entitled = (mac: MacAddress, subnet: Subnet): Ipv4Address | undefined => {
    const reservation = store.reservations.byMac(mac);
    const address = reservation ? reservation.address : ownLease(mac)?.address;
    return address && contains(subnet, address) ? address : undefined;
  };

  /** A reserved address is the client's own whatever its row says; so its row may start anew. */
  const startingPoint = (mac: MacAddress, address: Ipv4Address): Lease => {
    const lease = current(address);
    const mine = store.reservations.byAddress(address)?.mac === mac;
    const held = lease.state === "bound" && lease.holder === mac;
    return mine && !held ? { state: "free", address } : lease;
  };

  return {
    reserve: (request) =>
      store.transaction(() => {
        const existing = store.reservations.byMac(request.mac);
        const address =
          existing && (request.address ?? existing.address) === existing.address
            ? existing.address
            : chooseReserved(request);
        const hostname = request.hostname ?? existing?.hostname;
        const slot = request.slot ?? existing?.slot;
        const reservation: Reservation = {
          mac: request.mac,
          address,
          ...(hostname !== undefined && { hostname }),
          ...(slot && { slot }),
          createdAt: existing?.createdAt ?? clock.now(),
        };
        if (existing && sameReservation(existing, reservation)) return existing;
        if (existing && existing.address !== address) store.reservations.delete(request.mac);
        store.reservations.put(reservation);
        dropOthers(request.mac, address);
        return reservation;
      }),
    forget: (mac) =>
      store.transaction(() => {
        store.reservations.delete(mac);
        dropOthers(mac, undefined);
      }),
    reservationOf: (mac) => store.reservations.byMac(mac),
    reservations: () => store.reservations.list(),

    addressOf: (mac) => store.reservations.byMac(mac)?.address ?? ownLease(mac)?.address,
    macOf: holderOf,
    list: () => store.leases.list().filter((row) => row.until > clock.now()),

    offer: (mac, subnet, wish) =>
      durably(() => {
        const reserved = store.reservations.byMac(mac);
        const address = reserved ? entitled(mac, subnet) : choosePooled(mac, subnet, wish);
        if (address === undefined) return undefined;
        const lease = startingPoint(mac, address);
        if (lease.state === "bound" && lease.holder === mac) {
          return { address, mac, state: "bound", until: lease.until }; // a reboot within its time
        }
        dropOthers(mac, address);
        return change(
          lease.state === "offered" ? { state: "free", address } : lease, // asked again: hold longer
          { kind: "discover", from: mac, at: clock.now(), duration: offerHold },
        );
      }),
    bind: (mac, subnet, address) =>
      durably(() => {
        if (entitled(mac, subnet) !== address) return undefined;
        const now = clock.now();
        const reserved = store.reservations.byMac(mac)?.address === address;
        const lease = current(address);
        const isOwn =
          (lease.state === "offered" || lease.state === "bound") && lease.holder === mac;
        const before: Lease =
          reserved && !isOwn ? { state: "offered", address, holder: mac, until: now } : lease;
        dropOthers(mac, address);
        return change(before, {
          kind: "request",
          from: mac,
          at: now,
          duration: durationOf(subnet),
        });
      }),
    withdraw: (mac) => {
      const row = store.leases.byMac(mac);
      if (row?.state === "offered") store.leases.delete(row.address);
    },
    release: (mac, address) => {
      const lease = current(address);
      if (lease.state !== "bound" || lease.holder !== mac) return false;
      change(lease, { kind: "release", from: mac, at: clock.now(), duration: seconds(0) });
      publish(mac, address, "released");
      return true;
    },
    decline: (mac, address) => {
      const event = { kind: "decline", from: mac, at: clock.now(), duration: declineHold } as const;
      return durably(() => change(current(address), event)) !== undefined;
    },
    expire: () => {
      const at = clock.now();
      for (const row of store.leases.list()) {
        if (!next(toLease(row.address, row), { kind: "expire", at })) continue;
        store.leases.delete(row.address);
        if (row.state === "bound") publish(row.mac, row.address, "expired");
      }
    },
    committed: () => Promise.resolve(),
  };
}

/** Whether the address is one of the subnet's hosts. */
export function contains(subnet: Pick<Subnet, "network" | "broadcast">, address: Ipv4Address) {
  const value = ipv4ToNumber(address);
  return value > ipv4ToNumber(subnet.network) && value < ipv4ToNumber(subnet.broadcast);
}

function durationOf(subnet: Subnet): Seconds {
  return seconds(subnet.leaseSeconds);
}

/** Both ends are included. */
export function within(range: AddressRange, address: Ipv4Address): boolean {
  const value = ipv4ToNumber(address);
  return value >= ipv4ToNumber(range.first) && value <= ipv4ToNumber(range.last);
}

function* addresses(range: AddressRange): Iterable<Ipv4Address> {
  const last = ipv4ToNumber(range.last);
  for (let value = ipv4ToNumber(range.first); value <= last; value++) yield ipv4FromNumber(value);
}

function toLease(address: Ipv4Address, row: LeaseRow | undefined): Lease {
  if (!row) return { state: "free", address };
  if (row.state === "declined") return { state: "declined", address, until: row.until };
  return { state: row.state, address, holder: row.mac, until: row.until };
}

function sameReservation(a: Reservation, b: Reservation): boolean {
  return (
    a.address === b.address &&
    a.hostname === b.hostname &&
    a.slot?.rack === b.slot?.rack &&
    a.slot?.stack === b.slot?.stack &&
    a.slot?.slot === b.slot?.slot
  );
}
