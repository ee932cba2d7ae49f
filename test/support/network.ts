/** A subnet, leases on a store in memory, and an event bus that remembers: for DHCP and lease tests. */

import { parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import type { Subnet } from "../../server/config.ts";
import { createEventBus, type EventBus } from "../../server/events.ts";
import { createLeases, type Leases } from "../../server/lease/leases.ts";
import { silentLog } from "../../server/log.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import type { Store } from "../../server/store/store.ts";
import { createFakeClock, type FakeClock } from "./fake-clock.ts";

export const ip = parseIpv4Address;
export const mac = parseMacAddress;

/** 10.77.0.0/24: server .1, reserved .10-.12, pool .100-.101. */
export const subnet: Subnet = {
  cidr: "10.77.0.0/24",
  network: ip("10.77.0.0"),
  netmask: ip("255.255.255.0"),
  broadcast: ip("10.77.0.255"),
  interface: "lan0",
  mode: "dynamic",
  reserved: { first: ip("10.77.0.10"), last: ip("10.77.0.12") },
  pool: { first: ip("10.77.0.100"), last: ip("10.77.0.101") },
  relays: [ip("10.77.0.253")],
  router: ip("10.77.0.254"),
  dns: [ip("10.77.0.1")],
  domainSearch: [],
  ntp: [],
  routes: [],
  classes: [],
  secureBoot: "auto",
  leaseSeconds: 3600,
};

export function withoutPool({ pool: _, ...rest }: Subnet): Subnet {
  return { ...rest, mode: "reservation" };
}

export interface Network {
  readonly store: Store;
  readonly clock: FakeClock;
  readonly events: EventBus;
  readonly published: DomainEvent[];
  readonly leases: Leases;
}

export function network(): Network {
  const store = openSqliteStore(":memory:");
  const clock = createFakeClock();
  const events = createEventBus(silentLog);
  const published: DomainEvent[] = [];
  events.subscribe((event) => void published.push(event));
  return { store, clock, events, published, leases: createLeases({ store, clock, events }) };
}
