import test from "ava";
import { type Instant, type Ipv4Address, parseMacAddress, seconds } from "#protocol/brand.ts";
import type { Lease, LeaseEvent } from "../../server/lease/lease.ts";
import { next } from "../../server/lease/lease.ts";

const address = "10.0.0.5" as Ipv4Address;
const pi = parseMacAddress("dc:a6:32:00:00:01");
const other = parseMacAddress("dc:a6:32:00:00:02");
const at = (value: number) => value as Instant;
const hour = seconds(3600);

const free: Lease = { state: "free", address };
const offered: Lease = { state: "offered", address, holder: pi, until: at(60_000) };
const bound: Lease = { state: "bound", address, holder: pi, until: at(3_600_000) };

const table: readonly (readonly [title: string, Lease, LeaseEvent, Lease | undefined])[] = [
  [
    "a free address is offered",
    free,
    { kind: "discover", from: pi, at: at(0), duration: seconds(60) },
    offered,
  ],
  [
    "the offer is taken up",
    offered,
    { kind: "request", from: pi, at: at(0), duration: hour },
    bound,
  ],
  [
    "another client cannot take it",
    offered,
    { kind: "request", from: other, at: at(0), duration: hour },
    undefined,
  ],
  ["a release frees it", bound, { kind: "release", from: pi, at: at(9), duration: hour }, free],
  ["it does not expire early", bound, { kind: "expire", at: at(3_599_999) }, undefined],
  ["it expires on time", bound, { kind: "expire", at: at(3_600_000) }, free],
];

for (const [title, before, event, after] of table) {
  test(title, (t) => void t.deepEqual(next(before, event), after));
}
