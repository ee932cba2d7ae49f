import test from "ava";
import { parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import { chooseDestination } from "../../server/dhcp/destination.ts";

const ip = parseIpv4Address;
const none = ip("0.0.0.0");
const relay = ip("10.0.0.254");
const held = ip("10.0.0.7");
const yiaddr = ip("10.0.0.9");
const mac = parseMacAddress("dc:a6:32:00:00:01");

const silent = { giaddr: none, ciaddr: none, flags: 0 };
const flagged = { ...silent, flags: 0x8000 };
const answer = { yiaddr, isNak: false };
const nak = { yiaddr: none, isNak: true };
const pc = { mac, neverBroadcast: false };
const pi3 = { mac, neverBroadcast: true };
const broadcast = { kind: "broadcast", address: "255.255.255.255" };

const table = [
  [
    "a relay gets it before all else",
    { giaddr: relay, ciaddr: held, flags: 0x8000 },
    answer,
    pc,
    { kind: "relay", address: relay },
  ],
  [
    "a relay gets a NAK too",
    { ...silent, giaddr: relay },
    nak,
    pc,
    { kind: "relay", address: relay },
  ],
  ["a NAK is broadcast although ciaddr is set", { ...silent, ciaddr: held }, nak, pc, broadcast],
  [
    "a renewing client gets unicast, flag or not",
    { ...flagged, ciaddr: held },
    answer,
    pc,
    { kind: "unicast", address: held },
  ],
  ["the flag asks for a broadcast", flagged, answer, pc, broadcast],
  [
    "other flag bits do not",
    { ...silent, flags: 0x7fff },
    answer,
    pc,
    { kind: "neighbour", address: yiaddr, mac, fallback: "broadcast" },
  ],
  [
    "without it, a neighbour entry and unicast",
    silent,
    answer,
    pc,
    { kind: "neighbour", address: yiaddr, mac, fallback: "broadcast" },
  ],
  [
    "a Pi 3 is never broadcast to",
    silent,
    answer,
    pi3,
    { kind: "neighbour", address: yiaddr, mac, fallback: "silence" },
  ],
  [
    "a Pi 3 is not even if it asks",
    flagged,
    answer,
    pi3,
    { kind: "neighbour", address: yiaddr, mac, fallback: "silence" },
  ],
] as const;
for (const [title, request, reply, client, expected] of table) {
  test(
    title,
    (t) => void t.deepEqual(chooseDestination(request, reply, client) as unknown, expected),
  );
}
