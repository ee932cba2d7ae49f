/**
 * Who has which address. Two kinds:
 *
 *   reservation   an address that belongs to a hardware address for good; in the journal
 *   lease         what a client was told, and until when; of a reserved address
 *                 or of one from the dynamic pool
 *
 * Leases live in memory. Those of the pool are kept in the lease file too, where an
 * OFFER is written as the promise it is: until its hold ends and a whole lease
 * after that. So the ACK that follows rests on what is on stable storage already,
 * and a client costs one write; what ends is written when somebody else's promise
 * is. The lease of a reserved address needs no write: the reservation says it all.
 *
 * Changes are made at once and are durable when {@link Leases.committed} says so.
 * The pool skips every reserved address, and the two ranges never overlap (config.ts).
 */

import {
  after,
  type Instant,
  type Ipv4Address,
  ipv4FromNumber,
  ipv4ToNumber,
  type MacAddress,
  type Seconds,
  seconds,
  toMilliseconds,
} from "#protocol/brand.ts";
import type { SlotRef } from "#protocol/node.ts";
import type { Clock } from "../clock.ts";
import type { AddressRange, Subnet } from "../config.ts";
import { ConflictError, PoolExhaustedError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { LeaseRow, Reservation, Store } from "../store/store.ts";
import { createCommits } from "./commits.ts";
import { type Lease, type LeaseEvent, next } from "./lease.ts";
import type { LeaseFile } from "./lease-file.ts";
import type { LeaseRecord } from "./lease-format.ts";
import { createPool, type Pool } from "./pool.ts";

/** How long an OFFER holds its address; EDK2's last retry comes after 41 s. */
const offerHold = seconds(60);
/** A promise is written this much longer than it must be, so that asking again is no new write. */
const promiseSlack = seconds(60);
/** How long a declined address of the pool is left alone. */
const declineHold = seconds(600);
/** A pool that is empty looks for what has run out, but not for each packet of a flood. */
const sweepPeriodMs = 1000;
/** Client identifiers that two live clients shared, of cloned disks for example. */
const maximumAmbiguous = 1024;

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
   * On stable storage when it returns.
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
   * Holds an address for a client: its own if it has one, else its former one, else one of the pool.
   *
   * @param wish - an address the client asked for; honoured if free in the pool
   * @param clientId - option 61 in hexadecimal digits, of a client that is no boot firmware: it keeps
   *   its lease by it when its hardware address changed. A reservation always wins.
   * @returns undefined for an unknown client where the subnet has no pool
   * @throws PoolExhaustedError when every address of the pool is taken.
   */
  offer(
    mac: MacAddress,
    subnet: Subnet,
    wish?: Ipv4Address,
    clientId?: string,
  ): LeaseRow | undefined;
  /** `undefined`: the address is not this client's. */
  bind(mac: MacAddress, subnet: Subnet, address: Ipv4Address): LeaseRow | undefined;
  /** The client took another server's offer. */
  withdraw(mac: MacAddress): void;
  /** Only the holder's word counts; anyone else's changes nothing and gives false. */
  release(mac: MacAddress, address: Ipv4Address): boolean;
  decline(mac: MacAddress, address: Ipv4Address): boolean;
  /** Removes what has run out; called once in a while. */
  expire(): void;

  /** Up to `count` addresses of the subnet's pool that would be offered next. */
  spare(subnet: Subnet, count: number): readonly Ipv4Address[];
  /**
   * Somebody answers ARP for an address nobody should have: it is left alone for a while, and
   * whoever it was offered to loses it. A holder that lost it to a client of the same client
   * identifier gets it back.
   */
  conflict(address: Ipv4Address, seen: MacAddress): void;

  /**
   * Resolves when the changes made so far for `mac`, or for everybody, are on stable storage:
   * nothing that rests on one may be told before. At once when there is none.
   *
   * @throws UnavailableError when the disk refuses. The changes stay, and are tried again with
   *   the next call: what was not durable for one answer is not for the next either.
   */
  committed(mac?: MacAddress): Promise<void>;
  /** Whether there is nothing to wait for: as nearly always for a client that is known. */
  isCommitted(mac: MacAddress): boolean;
}

export interface LeasesContext {
  readonly store: Pick<Store, "reservations" | "transaction">;
  /** Absent: nothing of the pool outlives the process. */
  readonly file?: LeaseFile;
  readonly clock: Clock;
  readonly events: EventBus;
  /** Never handed out although inside a range: the server's own addresses. */
  readonly excluded?: readonly Ipv4Address[];
}

/** One row in memory, and the commit it rests on. */
interface Held extends LeaseRow {
  readonly clientId?: string;
  /** Who had the address until a client of the same identifier asked for it. */
  readonly takenFrom?: Held;
  /** Declined because this one answers for it; should it ask for an address, it may have this. */
  readonly usedBy?: MacAddress;
  /** Number of its write; 0: it needs none. */
  readonly commit: number;
}

export function createLeases({ store, file, clock, events, excluded = [] }: LeasesContext): Leases {
  const { reservations } = store;
  const rows = new Map<Ipv4Address, Held>();
  /** The offered or bound row of each. */
  const byMac = new Map<MacAddress, Held>();
  const byClientId = new Map<string, Held>();
  const ambiguous = new Set<string>();
  /** Whose an address was before it became free, and the other way round. */
  const formerHolders = new Map<Ipv4Address, MacAddress>();
  const formerAddresses = new Map<MacAddress, Ipv4Address>();
  const pools = new Map<string, Pool>();
  const commits = createCommits({ file, clock });
  let sweptAt = Number.NEGATIVE_INFINITY;

  const publish = (
    mac: MacAddress,
    address: Ipv4Address,
    state: "bound" | "offered" | "released" | "declined" | "expired",
  ) => events.publish({ topic: "lease", mac, address, state });

  const isReserved = (address: Ipv4Address) => reservations.byAddress(address) !== undefined;
  const isNeverGiven = (address: Ipv4Address, subnet: Subnet) =>
    address === subnet.router || excluded.includes(address);

  const unlink = (row: Held): void => {
    if (byMac.get(row.mac) === row) byMac.delete(row.mac);
    if (row.clientId !== undefined && byClientId.get(row.clientId) === row) {
      byClientId.delete(row.clientId);
    }
  };
  const link = (row: Held): void => {
    const before = rows.get(row.address);
    if (before) unlink(before);
    rows.set(row.address, row);
    if (row.state === "declined") return;
    byMac.set(row.mac, row);
    if (row.clientId !== undefined) byClientId.set(row.clientId, row);
    forgetFormer(row.address);
  };
  const forgetFormer = (address: Ipv4Address): void => {
    const mac = formerHolders.get(address);
    if (mac === undefined) return;
    formerHolders.delete(address);
    if (formerAddresses.get(mac) === address) formerAddresses.delete(mac);
  };
  /** The address is nobody's from now on; what the file says of it can wait. */
  const free = (row: Held): void => {
    unlink(row);
    rows.delete(row.address);
    commits.stage({ state: "free", address: row.address });
    for (const pool of pools.values()) pool.give(row.address);
    if (row.state === "declined") return;
    forgetFormer(row.address);
    formerHolders.set(row.address, row.mac);
    formerAddresses.set(row.mac, row.address);
  };

  for (const record of file?.found ?? []) {
    const row = fromRecord(record, clock.now());
    const other = row && byMac.get(row.mac);
    if (row && !isReserved(row.address)) {
      link(row);
      if (other && other.until > row.until) byMac.set(other.mac, other);
      commits.known(record);
    }
  }

  /** The lease as it is now: what has run out counts as free. */
  const current = (address: Ipv4Address): Lease => {
    const lease = toLease(address, rows.get(address));
    return next(lease, { kind: "expire", at: clock.now() }) ?? lease;
  };
  const isFree = (address: Ipv4Address) =>
    !isReserved(address) && current(address).state === "free";

  /** What the file must say before the row may be told; the row that rests on it. */
  const promise = (row: LeaseRow, duration: Seconds, clientId: string | undefined): Held => {
    const { address, mac, state } = row;
    const identified = { ...row, ...(clientId !== undefined && { clientId }) };
    if (isReserved(address)) return { ...identified, commit: 0 };
    if (state === "declined") {
      return { ...row, commit: commits.stage({ state, address, mac, until: row.until }) };
    }
    const needed = state === "offered" ? after(row.until, toMilliseconds(duration)) : row.until;
    const record = { address, mac, ...(clientId !== undefined && { clientId }) };
    return { ...identified, commit: commits.promise(record, needed, promiseSlack) };
  };

  /** The row that follows from `event`; undefined when the event changes nothing, or frees the address. */
  const change = (
    lease: Lease,
    event: Exclude<LeaseEvent, { kind: "expire" }>,
    facts: {
      readonly duration: Seconds;
      readonly clientId?: string | undefined;
      readonly takenFrom?: Held | undefined;
    },
  ): Held | undefined => {
    const after = next(lease, event);
    if (!after) return undefined;
    const before = rows.get(lease.address);
    if (after.state === "free") {
      if (before) free(before);
      return undefined;
    }
    const { address, state, until } = after;
    const row = {
      ...promise({ address, mac: event.from, state, until }, facts.duration, facts.clientId),
      ...(facts.takenFrom && { takenFrom: facts.takenFrom }),
    };
    link(row);
    commits.afterwards(row.commit, () => publish(row.mac, row.address, row.state));
    return row;
  };

  const isLive = (row: Held | undefined): row is Held =>
    row !== undefined && row.state !== "declined" && row.until > clock.now();
  const ownLease = (mac: MacAddress): Held | undefined => {
    const row = byMac.get(mac);
    return isLive(row) ? row : undefined;
  };
  const commitOf = (mac: MacAddress): number => byMac.get(mac)?.commit ?? 0;
  /** A client has one address: its other one goes. */
  const dropOther = (mac: MacAddress, keep: Ipv4Address | undefined): void => {
    const row = byMac.get(mac);
    if (row && row.address !== keep) free(row);
  };

  const chooseReserved = ({ subnet, address, mac }: ReservationRequest): Ipv4Address => {
    if (address === undefined) {
      for (const one of addresses(subnet.reserved)) {
        if (!isNeverGiven(one, subnet) && isFree(one)) return one;
      }
      throw new PoolExhaustedError(
        `no free address in ${subnet.reserved.first} - ${subnet.reserved.last} of ${subnet.cidr}`,
      );
    }
    if (!contains(subnet, address)) throw new ConflictError(`${address} is outside ${subnet.cidr}`);
    if (isNeverGiven(address, subnet)) {
      throw new ConflictError(`${address} belongs to the server or the router`);
    }
    const holder = holderOf(address);
    if (holder !== undefined && holder !== mac) {
      throw new ConflictError(`${address} belongs to ${holder}`);
    }
    return address;
  };
  const holderOf = (address: Ipv4Address): MacAddress | undefined => {
    const reserved = reservations.byAddress(address);
    if (reserved) return reserved.mac;
    const row = rows.get(address);
    return isLive(row) ? row.mac : undefined;
  };

  const poolOf = (range: AddressRange): Pool => {
    const key = `${range.first}-${range.last}`;
    const made = pools.get(key) ?? createPool(range);
    pools.set(key, made);
    return made;
  };
  const choosePooled = (
    mac: MacAddress,
    subnet: Subnet,
    wish: Ipv4Address | undefined,
  ): Ipv4Address | undefined => {
    const { pool: range } = subnet;
    if (!range) return undefined;
    const isOffered = (one: Ipv4Address) => !isNeverGiven(one, subnet) && isFree(one);
    const own = ownLease(mac)?.address;
    if (own && within(range, own) && !isReserved(own)) return own;
    const used = wish && rows.get(wish);
    if (used?.usedBy === mac) free(used);
    for (const one of [formerAddresses.get(mac), wish]) {
      if (one && within(range, one) && isOffered(one)) return one;
    }
    const pool = poolOf(range);
    const address = pool.take(isOffered) ?? (sweepAgain() ? pool.take(isOffered) : undefined);
    if (address) return address;
    throw new PoolExhaustedError(
      `no free address in the pool ${range.first} - ${range.last} of ${subnet.cidr}`,
    );
  };

  /** The lease of the same client under another hardware address, if it may have it. */
  const ofSameClient = (
    mac: MacAddress,
    subnet: Subnet,
    clientId: string | undefined,
  ): Held | undefined => {
    if (clientId === undefined || ambiguous.has(clientId) || ownLease(mac)) return undefined;
    const row = byClientId.get(clientId);
    if (!isLive(row) || row.mac === mac || reservations.byMac(row.mac)) return undefined;
    return subnet.pool && within(subnet.pool, row.address) ? row : undefined;
  };

  /** The address this client may have in this subnet without a new one being chosen. */
  const entitled = (mac: MacAddress, subnet: Subnet): Ipv4Address | undefined => {
    const reservation = reservations.byMac(mac);
    const address = reservation ? reservation.address : ownLease(mac)?.address;
    return address && contains(subnet, address) ? address : undefined;
  };

  /** A reserved address is the client's own whatever its row says; so its row may start anew. */
  const startingPoint = (mac: MacAddress, address: Ipv4Address): Lease => {
    const lease = current(address);
    const mine = reservations.byAddress(address)?.mac === mac;
    const held = lease.state === "bound" && lease.holder === mac;
    return mine && !held ? { state: "free", address } : lease;
  };

  const sweep = (): void => {
    sweptAt = clock.monotonic();
    const at = clock.now();
    for (const row of rows.values()) {
      if (row.until > at) continue;
      free(row);
      if (row.state === "bound") publish(row.mac, row.address, "expired");
    }
  };
  const sweepAgain = (): boolean => {
    if (clock.monotonic() - sweptAt < sweepPeriodMs) return false;
    sweep();
    return true;
  };

  return {
    reserve: (request) => {
      const reservation = store.transaction(() => {
        const existing = reservations.byMac(request.mac);
        const address =
          existing && (request.address ?? existing.address) === existing.address
            ? existing.address
            : chooseReserved(request);
        const hostname = request.hostname ?? existing?.hostname;
        const slot = request.slot ?? existing?.slot;
        const made: Reservation = {
          mac: request.mac,
          address,
          ...(hostname !== undefined && { hostname }),
          ...(slot && { slot }),
          createdAt: existing?.createdAt ?? clock.now(),
        };
        if (existing && sameReservation(existing, made)) return existing;
        if (existing && existing.address !== address) reservations.delete(request.mac);
        reservations.put(made);
        return made;
      });
      dropOther(reservation.mac, reservation.address);
      return reservation;
    },
    forget: (mac) => {
      const address = reservations.byMac(mac)?.address;
      reservations.delete(mac);
      dropOther(mac, undefined);
      if (address) for (const pool of pools.values()) pool.give(address);
    },
    reservationOf: (mac) => reservations.byMac(mac),
    reservations: () => reservations.list(),

    addressOf: (mac) => reservations.byMac(mac)?.address ?? ownLease(mac)?.address,
    macOf: holderOf,
    list: () => [...rows.values()].filter((row) => row.until > clock.now()).map(toRow),

    offer(mac, subnet, wish, clientId) {
      const reserved = reservations.byMac(mac);
      const twin = reserved ? undefined : ofSameClient(mac, subnet, clientId);
      const address = reserved
        ? entitled(mac, subnet)
        : (twin?.address ?? choosePooled(mac, subnet, wish));
      if (address === undefined) return undefined;
      const lease: Lease = twin ? { state: "free", address } : startingPoint(mac, address);
      if (lease.state === "bound" && lease.holder === mac) {
        return { address, mac, state: "bound", until: lease.until }; // a reboot within its time
      }
      dropOther(mac, address);
      const row = change(
        lease.state === "offered" ? { state: "free", address } : lease, // asked again: hold longer
        { kind: "discover", from: mac, at: clock.now(), duration: offerHold },
        { duration: durationOf(subnet), clientId, takenFrom: twin },
      );
      return row && toRow(row);
    },
    bind(mac, subnet, address) {
      if (entitled(mac, subnet) !== address) return undefined;
      const now = clock.now();
      const reserved = reservations.byMac(mac)?.address === address;
      const lease = current(address);
      const isOwn = (lease.state === "offered" || lease.state === "bound") && lease.holder === mac;
      const before: Lease =
        reserved && !isOwn ? { state: "offered", address, holder: mac, until: now } : lease;
      dropOther(mac, address);
      const duration = durationOf(subnet);
      const row = change(
        before,
        { kind: "request", from: mac, at: now, duration },
        { duration, clientId: rows.get(address)?.clientId },
      );
      return row && toRow(row);
    },
    withdraw(mac) {
      const row = byMac.get(mac);
      if (row?.state === "offered") free(row);
    },
    release(mac, address) {
      const row = rows.get(address);
      if (!isLive(row) || row.state !== "bound" || row.mac !== mac) return false;
      free(row);
      publish(mac, address, "released");
      return true;
    },
    decline(mac, address) {
      const event = { kind: "decline", from: mac, at: clock.now(), duration: declineHold } as const;
      return change(current(address), event, { duration: declineHold }) !== undefined;
    },
    expire() {
      sweep();
      commits.flush();
    },

    spare(subnet, count) {
      if (!subnet.pool) return [];
      return poolOf(subnet.pool).peek(count, (one) => !isNeverGiven(one, subnet) && isFree(one));
    },
    conflict(address, seen) {
      if (isReserved(address)) return;
      const row = rows.get(address);
      if (isLive(row) && row.mac === seen) return;
      const until = after(clock.now(), toMilliseconds(declineHold));
      if (isLive(row) && row.takenFrom?.mac === seen) {
        if (row.clientId !== undefined && ambiguous.size < maximumAmbiguous) {
          ambiguous.add(row.clientId);
        }
        const back = { ...toRow(row.takenFrom), until: later(row.takenFrom.until, until) };
        link(promise(back, declineHold, undefined));
        return;
      }
      const left = promise(
        { address, mac: seen, state: "declined", until },
        declineHold,
        undefined,
      );
      link({ ...left, usedBy: seen });
      publish(row?.mac ?? seen, address, "declined");
    },
    committed: (mac) => commits.committed(mac === undefined ? undefined : commitOf(mac)),
    isCommitted: (mac) => commits.isCommitted(commitOf(mac)),
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

function later(a: Instant, b: Instant): Instant {
  return a > b ? a : b;
}

function toRow({ address, mac, state, until }: Held): LeaseRow {
  return { address, mac, state, until };
}

/** The row of a version that kept leases in the journal. */
export function recordOf({ address, mac, state, until }: LeaseRow): LeaseRecord {
  return { state: state === "declined" ? state : "promised", address, mac, until };
}

/** An offer that was written may have been taken: it counts as a lease. */
function fromRecord(record: LeaseRecord, now: Instant): Held | undefined {
  if (record.state === "free" || record.until <= now) return undefined;
  const { address, mac, until } = record;
  const row = { address, mac, until, commit: 0 };
  if (record.state === "declined") return { ...row, state: "declined" };
  return {
    ...row,
    state: "bound",
    ...(record.clientId !== undefined && { clientId: record.clientId }),
  };
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
