/**
 * Kills a server while it gives leases, at named points and at random moments, and
 * looks after each kill whether everything a client was told is in the lease file.
 * The file is read here with a reader of its own, not with the server's.
 *
 *   node test/lab/lease-killed.ts --kills 2000 --lanes 4     the long run; a figure per point
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { crc32 } from "node:zlib";
import { type Ipv4Address, parseIpv4Address } from "#protocol/brand.ts";
import { parseConfig, type Subnet } from "../../server/config.ts";
import { option, readMessageType, readOption } from "../../server/dhcp/codec/options.ts";
import { type DhcpPacket, decodePacket, encodePacket } from "../../server/dhcp/codec/packet.ts";
import { macOf, message } from "../support/dhcp.ts";

export type Point =
  | "before the write"
  | "in the write"
  | "after the write"
  | "before the reply"
  | "after the reply";
export const points: readonly (Point | "at random")[] = [
  "before the write",
  "in the write",
  "after the write",
  "before the reply",
  "after the reply",
  "at random",
];

export const relay: Ipv4Address = parseIpv4Address("10.64.0.5");
export const bigSubnet: Subnet = subnetOf({
  cidr: "10.64.0.0/12",
  interface: "none",
  reserved: ["10.64.0.10", "10.64.0.99"],
  pool: ["10.65.0.0", "10.66.255.255"],
  leaseSeconds: 86_400,
  relays: [relay],
});

function subnetOf(text: unknown): Subnet {
  const [subnet] = parseConfig(JSON.stringify({ subnets: [text] }), "lease-killed.yaml").subnets;
  if (!subnet) throw new RangeError("no subnet");
  return subnet;
}

export interface KillCounts {
  kills: number;
  /** OFFERs and ACKs that clients have read. */
  acknowledged: number;
  /** Of these, what the file did not have afterwards. */
  lost: number;
  /** Addresses that two clients were told. */
  twice: number;
}

/** What clients were told of each address: whose it is, and until when at least. */
type Told = Map<string, { readonly mac: string; readonly until: number }>;

const clientsAtOnce = 40;
const momentMs = 5000;
/** How long one lives that is killed at random: it starts, reads its file, serves. */
const longestLifeMs = 900;
/** A server that does not come to its point is killed after this. */
const patienceMs = 20_000;
/** A lease file is thrown away after so many kills, so that it stays small. */
const killsPerFile = 25;

export async function killServers(
  kills: number,
  onKill: (point: string, counts: KillCounts) => void,
  lanes = 1,
): Promise<KillCounts> {
  const counts: KillCounts = { kills: 0, acknowledged: 0, lost: 0, twice: 0 };
  const directory = mkdtempSync(join(tmpdir(), "marcoboot-killed-"));
  let index = 0;
  const lane = async () => {
    while (index < kills) {
      const told: Told = new Map();
      const path = join(directory, `leases-${index}`);
      for (let count = 0; count < killsPerFile && index < kills; count++) {
        const number = index++;
        const point = points[number % points.length] ?? "at random";
        await killOnce({ path, point, index: number, told, counts });
        check(path, told, counts);
        counts.kills += 1;
        onKill(point, counts);
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: lanes }, lane));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return counts;
}

async function killOnce(one: {
  readonly path: string;
  readonly point: string;
  readonly index: number;
  readonly told: Told;
  readonly counts: KillCounts;
}): Promise<void> {
  const { path, point, index, told, counts } = one;
  const child = spawn(
    process.execPath,
    [
      join(import.meta.dirname, "lease-killed-child.ts"),
      path,
      point,
      String(1 + Math.floor(Math.random() * 60)),
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  child.stdin.on("error", () => undefined); // it was killed: that is the point
  const exited = once(child, "exit");
  const ask = (packet: DhcpPacket) => {
    const bytes = encodePacket(packet);
    child.stdin.write(Uint8Array.of(bytes.length >> 8, bytes.length & 255));
    child.stdin.write(bytes);
  };
  for (let client = 0; client < clientsAtOnce; client++) ask(discover(index, client));
  let next = clientsAtOnce;
  let unread = Buffer.alloc(0);
  child.stdout.on("data", (bytes) => {
    unread = Buffer.concat([unread, bytes]);
    while (unread.length >= 2 && unread.length >= 2 + unread.readUInt16BE(0)) {
      const size = unread.readUInt16BE(0);
      const reply = decodePacket(unread.subarray(2, 2 + size));
      unread = unread.subarray(2 + size);
      note(reply, told, counts);
      if (readMessageType(reply.options) === "offer") ask(requestOf(reply));
      else ask(discover(index, next++));
    }
  });
  const life = point === "at random" ? Math.random() * longestLifeMs : patienceMs;
  const ended = new AbortController();
  void pause(life, undefined, { signal: ended.signal }).then(
    () => child.kill("SIGKILL"),
    () => undefined, // it came to its point
  );
  await exited;
  ended.abort();
}

/** An OFFER names no end yet; an ACK read now was made a moment ago. */
function note(reply: DhcpPacket, told: Told, counts: KillCounts): void {
  const mac = String(macOf(reply));
  const address = String(reply.yiaddr);
  counts.acknowledged += 1;
  const before = told.get(address);
  if (before && before.mac !== mac) counts.twice += 1;
  const lease = Number(readOption(reply.options, "leaseTime")) * 1000;
  const isAck = readMessageType(reply.options) === "ack";
  told.set(address, { mac, until: isAck ? Date.now() - momentMs + lease : 0 });
}

/** Looks up in the file what clients were told. */
function check(path: string, told: Told, counts: KillCounts): void {
  if (told.size === 0) return;
  const holders = readLeases(path);
  for (const [address, { mac, until }] of told) {
    const held = holders.get(address);
    if (held?.mac !== mac || held.until < until) counts.lost += 1;
  }
}

/** Lines of a checksum and a list; the last for an address counts (server/lease/lease-format.ts). */
function readLeases(path: string): ReadonlyMap<string, { mac: string; until: number }> {
  const holders = new Map<string, { mac: string; until: number }>();
  for (const line of readFileSync(path, "latin1").split("\n").slice(1)) {
    const body = line.slice(9);
    if (Number.parseInt(line.slice(0, 8), 16) !== crc32(body)) break; // the end, or a torn line
    for (const [address, letter, mac, until] of JSON.parse(body)) {
      if (letter === "p") holders.set(address, { mac, until });
      else holders.delete(address);
    }
  }
  return holders;
}

const server = option("serverIdentifier", relay);

function discover(run: number, client: number): DhcpPacket {
  const octets = [0x02, 0, run >> 8, run, client >> 8, client];
  const mac = octets.map((octet) => (octet & 255).toString(16).padStart(2, "0")).join(":");
  return message("discover", { mac, giaddr: relay });
}

function requestOf(offer: DhcpPacket): DhcpPacket {
  const options = [option("requestedAddress", offer.yiaddr), server];
  return message("request", { mac: macOf(offer), giaddr: relay, options });
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      kills: { type: "string", default: "2000" },
      lanes: { type: "string", default: "2" },
    },
  });
  const perPoint = new Map<string, number>();
  const onKill = (point: string, { kills, acknowledged, lost }: KillCounts) => {
    perPoint.set(point, (perPoint.get(point) ?? 0) + 1);
    if (kills % 50 === 0) {
      process.stderr.write(`${kills} kills, ${acknowledged} acknowledged, ${lost} lost\n`);
    }
  };
  const counts = await killServers(Number(values.kills), onKill, Number(values.lanes));
  process.stdout.write(`${JSON.stringify({ ...counts, ...Object.fromEntries(perPoint) })}\n`);
  process.exitCode = counts.lost + counts.twice === 0 ? 0 : 1;
}
