/**
 * Hostile DHCP, in process: packets made by grammar and by damage to real ones go
 * through everything that hears the network, and each answer is looked at.
 *
 *   bytes -> decode -> port 67 in five modes, port 4011, the probe's port -> encode -> decode
 *
 * The generator is seeded: the same seed makes the same packets.
 */

import { type Ipv4Address, ipv4FromNumber } from "#protocol/brand.ts";
import { familyOf } from "../../server/boot/firmware/registry.ts";
import type { Subnet } from "../../server/config.ts";
import { decodeDomainSearch } from "../../server/dhcp/codec/domain-search.ts";
import { readOption } from "../../server/dhcp/codec/options.ts";
import { type DhcpPacket, decodePacket, encodePacket } from "../../server/dhcp/codec/packet.ts";
import { decodeRoutes } from "../../server/dhcp/codec/routes.ts";
import type { Decision, HandlerContext } from "../../server/dhcp/decision.ts";
import { handlePacket } from "../../server/dhcp/handler.ts";
import type { ServingMode } from "../../server/dhcp/mode.ts";
import { readAnswer } from "../../server/dhcp/probe.ts";
import { handleBootRequest } from "../../server/dhcp/proxy.ts";
import { createRecent } from "../../server/dhcp/recent.ts";
import { createSightings } from "../../server/dhcp/sightings.ts";
import { PacketError, PoolExhaustedError } from "../../server/errors.ts";
import { createEventBus } from "../../server/events.ts";
import { createLeases, type Leases } from "../../server/lease/leases.ts";
import { silentLog } from "../../server/log.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { corpus, pi3Discover, pi4Discover } from "../support/dhcp.ts";
import { createFakeClock, type FakeClock } from "../support/fake-clock.ts";
import { ip, mac, subnet } from "../support/network.ts";
import { noKeeper } from "../support/no-keeper.ts";
import { createRandom, type Random } from "../support/random.ts";

export interface FuzzReport {
  readonly tried: number;
  /** By what came of them: `offer`, `malformed`, a reason for silence, ... */
  readonly outcomes: Readonly<Record<string, number>>;
  /** What must not happen, with the packet in hexadecimal digits. */
  readonly faults: readonly string[];
  /** Processor time of the slowest thousand packets: a hang would stand out. */
  readonly slowestThousandMs: number;
  /** Octets in use after the first tenth and at the end, garbage collected where node was told to allow it. */
  readonly heapBefore: number;
  readonly heapAfter: number;
}

export interface FuzzOptions {
  readonly seed: number;
  readonly packets: number;
  readonly onProgress?: (tried: number) => void;
}

const own = ip("10.77.0.1");
const relay = ip("10.77.0.253");
const maximumFaults = 10;
/** Modes take turns: one packet is tried in one of them. */
const modes: readonly ServingMode[] = ["dynamic", "reservation", "proxy", "listening", "off"];

export function fuzzDhcp({ seed, packets, onProgress }: FuzzOptions): FuzzReport {
  const random = createRandom(seed);
  const world = createWorld();
  const seeds = [
    ...corpus().map(([, bytes]) => bytes),
    encodePacket(pi3Discover()),
    encodePacket(pi4Discover()),
  ];
  const outcomes: Record<string, number> = {};
  const faults: string[] = [];
  let slowestThousandMs = 0;
  let since = processorMs();
  let heapBefore = 0;
  for (let tried = 0; tried < packets; tried++) {
    if (tried === Math.floor(packets / 10)) heapBefore = heapUsed();
    if (tried % 100_000 === 0) onProgress?.(tried);
    if (tried % 64 === 0) world.clock.advance(1000);
    const bytes = makePacket(random, seeds);
    const outcome = attempt(bytes, world, random, tried);
    if (outcome.fault !== undefined && faults.length < maximumFaults) {
      faults.push(`${outcome.fault}: ${bytes.toHex()}`);
    }
    outcomes[outcome.label] = (outcomes[outcome.label] ?? 0) + 1;
    if (tried % 1000 === 999) {
      world.leases.expire();
      const now = processorMs();
      slowestThousandMs = Math.max(slowestThousandMs, now - since);
      since = now;
    }
  }
  return { tried: packets, outcomes, faults, slowestThousandMs, heapBefore, heapAfter: heapUsed() };
}

interface World {
  readonly leases: Leases;
  readonly clock: FakeClock;
  readonly contexts: ReadonlyMap<ServingMode, HandlerContext>;
}

function createWorld(): World {
  const clock = createFakeClock();
  const events = createEventBus(silentLog);
  const leases = createLeases({ store: openSqliteStore(":memory:"), clock, events });
  const where: Subnet = {
    ...subnet,
    pool: { first: ip("10.77.0.100"), last: ip("10.77.0.199") },
    relays: [relay],
    domainName: "rack.example",
    domainSearch: ["rack.example", "example"],
    ntp: [ip("10.77.0.3")],
    routes: [{ network: ip("10.80.0.0"), prefix: 16, via: ip("10.77.0.9") }],
    classes: [
      {
        name: "all",
        match: { vendorClass: "PXE" },
        boot: true,
        pool: true,
        options: [[128, new Uint8Array(300)]],
      },
    ],
  };
  leases.reserve({ mac: mac("52:54:00:00:00:01"), subnet: where });
  leases.reserve({ mac: mac("b8:27:eb:34:56:78"), subnet: where });
  const sightings = createSightings({ clock, neighbourOf: () => undefined, keeper: noKeeper });
  const recent = createRecent();
  const contextOf = (mode: ServingMode): HandlerContext => ({
    subnets: [where],
    server: { address: own, httpUrl: "http://10.77.0.1:8080" },
    leases,
    admission: { heard: () => undefined },
    boot: {
      reply: (client, server) =>
        client.firmware && familyOf(client.firmware)?.reply(client, server, "ipxe"),
    },
    events,
    recent,
    sightings,
    modes: { of: () => mode },
    others: { isProbe: () => false, chosen: () => undefined, areHeard: () => false },
  });
  return { leases, clock, contexts: new Map(modes.map((mode) => [mode, contextOf(mode)])) };
}

interface Outcome {
  readonly label: string;
  readonly fault?: string;
}

function attempt(bytes: Uint8Array, world: World, random: Random, turn: number): Outcome {
  const mode = modes[turn % 8] ?? (turn % 2 === 0 ? "dynamic" : "proxy");
  const context = world.contexts.get(mode);
  if (!context) throw new RangeError(`no mode ${mode}`);
  try {
    if (random.below(16) === 0) {
      const heard = readAnswer(bytes, { address: ip("10.77.0.2") });
      return { label: heard ? heard.kind : "no-answer" };
    }
    const packet = decodePacket(bytes);
    readEverything(packet);
    const decision =
      mode === "proxy" && random.below(2) === 0
        ? handleBootRequest(packet, clientAddress(random), context)
        : handlePacket(packet, context);
    if (decision.kind === "silence") return { label: decision.reason };
    return judge(packet, decision, mode);
  } catch (error) {
    if (error instanceof PacketError) return { label: "malformed" };
    if (error instanceof PoolExhaustedError) return { label: error.code };
    return { label: "fault", fault: error instanceof Error ? String(error.stack) : String(error) };
  }
}

/** Options that no handler reads, but other parts of the product may. */
function readEverything({ options }: DhcpPacket): void {
  for (const [code, read] of [
    [119, decodeDomainSearch],
    [121, decodeRoutes],
  ] as const) {
    const value = options.get(code);
    if (value) read(value);
  }
}

/** What holds of every answer. */
function judge(
  asked: DhcpPacket,
  { type, packet, destination }: Extract<Decision, { kind: "reply" }>,
  mode: ServingMode,
): Outcome {
  const bytes = encodePacket(packet);
  const came = decodePacket(bytes);
  const echoed = (asked.options.get(82)?.length ?? 0) + (asked.options.get(61)?.length ?? 0);
  const wrong = [
    came.xid !== asked.xid && "another transaction id",
    came.chaddr.toHex() !== asked.chaddr.toHex() && "another hardware address",
    !came.options.has(53) && "no message type",
    readOption(came.options, "serverIdentifier") === undefined && "no server identifier",
    // what is echoed is the sender's own doing
    bytes.length > 1472 + echoed + 16 && `${bytes.length} octets`,
    mode === "proxy" && came.yiaddr !== "0.0.0.0" && "a proxy gave an address",
    mode === "proxy" && came.options.has(51) && "a proxy gave a lease time",
    (mode === "off" || mode === "listening") && "an answer",
    type === "nak" && came.yiaddr !== "0.0.0.0" && "a NAK with an address",
    destination.kind === "relay" && destination.address !== relay && "an unknown relay agent",
  ].find((one) => one !== false);
  return wrong === undefined ? { label: type } : { label: "fault", fault: wrong };
}

function clientAddress(random: Random): Ipv4Address {
  return ipv4FromNumber(0x0a4d_0000 + random.below(256));
}

function makePacket(random: Random, seeds: readonly Uint8Array[]): Uint8Array {
  switch (random.below(8)) {
    case 0:
      return noise(random, random.below(700));
    case 1:
      return header(random, noise(random, random.below(400)));
    case 2:
    case 3:
      return header(random, wellFormedOptions(random));
    default:
      return damage(random, seeds[random.below(seeds.length)] ?? new Uint8Array());
  }
}

function noise(random: Random, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, () => random.below(256));
}

const interestingCodes = [
  ...[12, 43, 50, 51, 52, 53, 54, 55, 57, 60, 61, 66, 67, 77, 82],
  ...[93, 94, 97, 118, 119, 121, 175],
] as const;
const interestingTexts = [
  "PXEClient:Arch:00000:UNDI:002001",
  "PXEClient:Arch:00007:UNDI:003000",
  "HTTPClient:Arch:00016:UNDI:003000",
  "PXEClient",
  "iPXE",
] as const;

/** A header that is taken, and whatever stands behind it. */
function header(random: Random, tail: Uint8Array): Uint8Array {
  const out = new Uint8Array(240 + tail.length);
  out.set([1, 1, 6, random.below(4)]);
  out.set(noise(random, 4), 4);
  if (random.below(8) === 0) out.set([0x26, 0xf3, 0x03, 0x39], 4);
  if (random.below(2) === 0) out[10] = 0x80;
  const known = [0x52, 0x54, 0, 0, 0, 1];
  out.set(random.below(4) === 0 ? noise(random, 6) : known, 28);
  if (random.below(4) === 0) out.set([10, 77, 0, random.below(256)], 12);
  if (random.below(8) === 0) out.set([10, 77, 0, random.below(2) === 0 ? 253 : 252], 24);
  if (random.below(4) === 0) out.set(noise(random, 192), 44);
  out.set([0x63, 0x82, 0x53, 0x63], 236);
  out.set(tail, 240);
  return out;
}

function wellFormedOptions(random: Random): Uint8Array {
  const out: number[] = [53, 1, random.below(10)];
  for (let count = random.below(12); count > 0; count--) {
    const code =
      random.below(3) === 0
        ? random.below(256)
        : (interestingCodes[random.below(interestingCodes.length)] ?? 0);
    const value = optionValue(random, code);
    out.push(code, value.length, ...value);
  }
  if (random.below(8) !== 0) out.push(255);
  return Uint8Array.from(out);
}

function optionValue(random: Random, code: number): Uint8Array {
  if (random.below(5) === 0) return noise(random, random.below(256));
  switch (code) {
    case 50:
      return Uint8Array.of(10, 77, 0, random.below(256));
    case 54:
      return Uint8Array.of(10, 77, 0, 1 + random.below(2));
    case 52:
      return Uint8Array.of(random.below(5));
    case 57:
      return noise(random, 2);
    case 60:
    case 77:
      return new TextEncoder().encode(interestingTexts[random.below(interestingTexts.length)]);
    case 82:
      return Uint8Array.of(5, 4, 10, 77, 0, 0, 11, 4, 10, 77, 0, random.below(256));
    case 93:
      return Uint8Array.of(0, [0, 6, 7, 9, 11, 16, 19, 41][random.below(8)] ?? 0);
    case 94:
      return noise(random, 3);
    case 97:
      return random.below(2) === 0
        ? noise(random, 17)
        : Uint8Array.of(0, 0x52, 0x50, 0x69, 0x34, ...noise(random, 12));
    default:
      return noise(random, random.below(64));
  }
}

/** A real packet, cut, lengthened, or with some octets or bits changed. */
function damage(random: Random, original: Uint8Array): Uint8Array {
  const extra = random.below(8) === 0 ? noise(random, random.below(300)) : new Uint8Array();
  const bytes = new Uint8Array(original.length + extra.length);
  bytes.set(original);
  bytes.set(extra, original.length);
  for (let count = random.below(12); count > 0; count--) {
    const at = random.below(bytes.length);
    const bit = 1 << random.below(8);
    bytes[at] = random.below(2) === 0 ? random.below(256) : (bytes[at] ?? 0) ^ bit;
  }
  return random.below(4) === 0 ? bytes.subarray(0, random.below(bytes.length + 1)) : bytes;
}

function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function heapUsed(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}
