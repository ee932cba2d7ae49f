/**
 * The life of one lease, as RFC 2131 §3 tells it from the server's side.
 *
 * A lease is one of four shapes, told apart by `state`; each shape carries only
 * what is true in that state, so "a bound lease without an expiry" cannot be
 * written down. {@link next} is pure: the store and the clock live elsewhere, and
 * the caller passes the time in.
 */

import {
  after,
  type Instant,
  type Ipv4Address,
  type MacAddress,
  type Seconds,
  toMilliseconds,
  unreachable,
} from "#protocol/brand.ts";

export type Lease =
  | { readonly state: "free"; readonly address: Ipv4Address }
  | {
      readonly state: "offered";
      readonly address: Ipv4Address;
      readonly holder: MacAddress;
      readonly until: Instant;
    }
  | {
      readonly state: "bound";
      readonly address: Ipv4Address;
      readonly holder: MacAddress;
      readonly until: Instant;
    }
  /** A client found the address in use (DHCPDECLINE, RFC 2131 §4.3.3). */
  | { readonly state: "declined"; readonly address: Ipv4Address; readonly until: Instant };

export type LeaseEvent =
  | {
      readonly kind: "discover" | "request";
      readonly from: MacAddress;
      readonly at: Instant;
      readonly duration: Seconds;
    }
  | {
      readonly kind: "release" | "decline";
      readonly from: MacAddress;
      readonly at: Instant;
      readonly duration: Seconds;
    }
  | { readonly kind: "expire"; readonly at: Instant };

/** `undefined` means: this event does not change this lease. */
export function next(lease: Lease, event: LeaseEvent): Lease | undefined {
  switch (event.kind) {
    case "discover":
      return lease.state === "free"
        ? {
            state: "offered",
            address: lease.address,
            holder: event.from,
            until: after(event.at, toMilliseconds(event.duration)),
          }
        : undefined;
    case "request":
      return isHeldBy(lease, event.from)
        ? {
            state: "bound",
            address: lease.address,
            holder: event.from,
            until: after(event.at, toMilliseconds(event.duration)),
          }
        : undefined;
    case "release":
      return lease.state === "bound" && lease.holder === event.from
        ? { state: "free", address: lease.address }
        : undefined;
    case "decline":
      if (!isHeldBy(lease, event.from)) return undefined; // anyone can send a DECLINE: only the holder's counts
      return {
        state: "declined",
        address: lease.address,
        until: after(event.at, toMilliseconds(event.duration)),
      };
    case "expire":
      return lease.state !== "free" && lease.until <= event.at
        ? { state: "free", address: lease.address }
        : undefined;
    default:
      return unreachable(event);
  }
}

function isHeldBy(lease: Lease, mac: MacAddress): boolean {
  return (lease.state === "offered" || lease.state === "bound") && lease.holder === mac;
}
