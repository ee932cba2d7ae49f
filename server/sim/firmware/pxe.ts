/**
 * PXE clients that take a boot file's name from DHCP: what BIOS ROMs, EDK2 and
 * iPXE have in common (PXE 2.1, RFC 4578). The offer with the address and the one
 * with the boot file may come from two servers; a proxy that names no file in its
 * OFFER is asked on port 4011.
 */

import type { Board } from "../board.ts";
import {
  dotted,
  isProxy,
  type Message,
  type OptionList,
  type Reply,
  readReply,
  selecting,
  sendMessage,
  takeAddress,
  vendorClassOf,
} from "../dhcp-client.ts";
import type { Ending, FileServer, Program } from "../program.ts";

const requestPeriodMs = 4000;
const requests = 4;
const proxyPeriodMs = 1000;
const proxyRequests = 4;

export interface PxeHabits {
  /** `secs` of each DISCOVER and, for each, how long it waits for an offer. */
  readonly discovers: readonly { readonly secs: number; readonly waitMs: number }[];
  /** Bit 0x8000: answers shall be broadcast. */
  readonly flags: number;
  readonly options: (type: "discover" | "request") => OptionList;
  /** How long it goes on listening once it could go on; never longer than `waitMs` in one turn. */
  readonly listenMs: (offers: PxeOffers) => number;
  /** While it listens so, the next DISCOVER goes out when its time has come. */
  readonly asksWhileListening: boolean;
  /** False: an offer without a boot file is no offer, unless a proxy has one. */
  readonly acceptsBare: boolean;
}

export interface PxeOffers {
  address: Reply | undefined;
  proxy: Reply | undefined;
}

/** What it boots, and where from. */
export interface BootSource {
  readonly file: string;
  readonly server: number;
  readonly ack: Reply;
}

export type Configured =
  | { readonly kind: "boot"; readonly source: BootSource }
  | { readonly kind: "ended"; readonly ending: Ending };

export function* configure(board: Board, habits: PxeHabits): Program<Configured> {
  const xid = Math.floor(board.settings.random() * 0x1_0000_0000);
  const offers = yield* discover(board, habits, xid);
  if (!offers.address) {
    return ended("silence", explain(offers));
  }
  const ack = yield* request(board, habits, xid, offers.address);
  if (!ack) return ended("silence", `no ACK for ${dotted(offers.address.offered)}`);
  takeAddress(board.station, ack);
  board.note("ack", dotted(board.station.address));
  const source = yield* bootSource(board, habits, xid, { ...offers, ack });
  if (!source) return ended("failed", "the proxy on port 4011 names no boot file");
  return { kind: "boot", source };
}

function ended(outcome: "silence" | "failed", reason: string): Configured {
  return { kind: "ended", ending: { outcome, reason } };
}

function explain({ proxy }: PxeOffers): string {
  return proxy ? "a proxy's boot file, but no address" : "no valid offer received (PXE-E16)";
}

function* discover(board: Board, habits: PxeHabits, xid: number): Program<PxeOffers> {
  const offers: PxeOffers = { address: undefined, proxy: undefined };
  let sent = 0;
  let listenUntil = Number.POSITIVE_INFINITY;
  for (const { secs, waitMs } of habits.discovers) {
    sent += 1;
    board.note("discover", `DISCOVER ${sent} of ${habits.discovers.length}`);
    send(board, habits, { type: "discover", xid, secs });
    let until = board.station.now + waitMs;
    for (;;) {
      const arrival = yield until;
      if (!arrival) break;
      const reply = readReply(board.station, arrival, xid);
      if (reply?.type !== "offer" || reply.isForAnother) continue;
      take(board, habits, reply, offers);
      if (isComplete(habits, offers)) {
        listenUntil = Math.min(listenUntil, board.station.now + habits.listenMs(offers));
        until = Math.min(until, listenUntil);
      }
    }
    const goesOn = !habits.asksWhileListening || board.station.now >= listenUntil;
    if (isComplete(habits, offers) && goesOn) return offers;
  }
  if (!isComplete(habits, offers)) offers.address = undefined;
  return offers;
}

function isComplete(habits: PxeHabits, { address, proxy }: PxeOffers): boolean {
  if (!address) return false;
  return habits.acceptsBare || address.bootFile !== "" || proxy !== undefined;
}

function take(board: Board, habits: PxeHabits, reply: Reply, offers: PxeOffers): void {
  const from = dotted(reply.address);
  if (isProxy(reply)) {
    if (!offers.proxy) board.note("offer", `proxy ${from}, boot file ${shown(reply.bootFile)}`);
    offers.proxy ??= reply;
  } else if (reply.offered !== 0) {
    // an offer with a boot file beats one without
    const better = offers.address?.bootFile === "" && reply.bootFile !== "";
    if (!offers.address || better) {
      offers.address = reply;
      board.note(
        "offer",
        `${dotted(reply.offered)} by ${from}, boot file ${shown(reply.bootFile)}`,
      );
      if (!habits.acceptsBare && reply.bootFile === "" && !offers.proxy) {
        board.note("ignored", `${from}: no boot file, unless a proxy names one`);
      }
    }
  }
}

const shown = (file: string): string => (file === "" ? "not named" : file);

function* request(
  board: Board,
  habits: PxeHabits,
  xid: number,
  offer: Reply,
): Program<Reply | undefined> {
  for (let sent = 0; sent < requests; sent++) {
    board.note("request", `REQUEST ${dotted(offer.offered)}`);
    const secs = habits.discovers[0]?.secs ?? 0;
    send(board, habits, { type: "request", xid, secs, extra: selecting(offer) });
    const until = board.station.now + requestPeriodMs;
    for (;;) {
      const arrival = yield until;
      if (!arrival) break;
      const reply = readReply(board.station, arrival, xid);
      if (!reply || reply.isForAnother || reply.serverIdentifier !== offer.serverIdentifier)
        continue;
      if (reply.type === "ack") return reply;
      if (reply.type === "nak") return undefined;
    }
  }
  return undefined;
}

function* bootSource(
  board: Board,
  habits: PxeHabits,
  xid: number,
  { proxy, ack }: { readonly proxy: Reply | undefined; readonly ack: Reply },
): Program<BootSource | undefined> {
  if (ack.bootFile !== "" || !proxy) {
    return { file: ack.bootFile, server: ack.nextServer, ack };
  }
  if (proxy.bootFile !== "" && vendorClassOf(proxy) !== "") {
    return { file: proxy.bootFile, server: proxy.nextServer, ack };
  }
  const menu = readMenu(proxy.packet.options.get(43) ?? new Uint8Array(0));
  const address = menu.server ?? proxy.address;
  const mac = yield* board.station.resolve(address);
  const named = mac && (yield* askProxy(board, habits, xid, { address, mac }, menu));
  return named && { file: named.bootFile, server: named.nextServer, ack };
}

/** What a proxy's option 43 offers (PXE 2.1 §2.4.1, table 2-1). */
interface BootMenu {
  /** Type of the first entry: firmware without a user takes that one. */
  readonly type?: number;
  /** First boot server of that type. */
  readonly server?: number;
}

const bootServers = 8; // type (2) | count (1) | addresses (4 each), repeated
const bootMenu = 9; // type (2) | length (1) | text, repeated
const bootItem = 71; // type (2) | layer (2)
const end = 255;

export function readMenu(value: Uint8Array): BootMenu {
  const fields = new Map<number, Uint8Array>();
  for (let at = 0; at + 1 < value.length && value[at] !== end; ) {
    const code = value[at] ?? end;
    const length = value[at + 1] ?? 0;
    if (code !== 0) fields.set(code, value.subarray(at + 2, at + 2 + length));
    at += code === 0 ? 1 : 2 + length;
  }
  const menu = fields.get(bootMenu);
  if (!menu || menu.length < 2) return {};
  const type = uint16(menu, 0);
  const servers = fields.get(bootServers) ?? new Uint8Array(0);
  for (let at = 0; at + 7 <= servers.length; at += 3 + 4 * (servers[at + 2] ?? 0)) {
    if (uint16(servers, at) !== type || servers[at + 2] === 0) continue;
    return { type, server: uint16(servers, at + 3) * 65536 + uint16(servers, at + 5) };
  }
  return { type };
}

function uint16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
}

/** Option 43 of the REQUEST that picks an entry of the menu. */
function chosenItem({ type }: BootMenu): OptionList {
  if (type === undefined) return [];
  return [[43, Uint8Array.of(bootItem, 4, type >> 8, type & 0xff, 0, 0, end)]];
}

function* askProxy(
  board: Board,
  habits: PxeHabits,
  xid: number,
  proxy: FileServer,
  menu: BootMenu,
): Program<Reply | undefined> {
  for (let sent = 0; sent < proxyRequests; sent++) {
    board.note("request", `port 4011 of ${dotted(proxy.address)}`);
    send(board, habits, { type: "request", xid, secs: 0, proxy, extra: chosenItem(menu) });
    const until = board.station.now + proxyPeriodMs;
    for (;;) {
      const arrival = yield until;
      if (!arrival) break;
      const reply = readReply(board.station, arrival, xid);
      if (reply?.type === "ack" && reply.bootFile !== "") return reply;
    }
  }
  return undefined;
}

interface Sending extends Pick<Message, "xid" | "secs"> {
  readonly type: "discover" | "request";
  readonly extra?: OptionList;
  readonly proxy?: FileServer;
}

function send(board: Board, habits: PxeHabits, sending: Sending): void {
  const { type, xid, secs, extra = [], proxy } = sending;
  const options = [...extra, ...habits.options(type)];
  sendMessage(board.station, { type, xid, secs, flags: habits.flags, options }, proxy);
}

/** A boot server on the link, or behind the router. */
export function* reach(board: Board, address: number): Program<FileServer | undefined> {
  const mac = yield* board.station.resolve(address);
  if (!mac) board.note("arp", `no answer of ${dotted(address)}`);
  return mac && { address, mac };
}

/** `00` and a UUID of this board's own: the letters "Simulated", its machine, and its hardware address. */
export function uuidOf(board: Board): Uint8Array {
  const out = new Uint8Array(17);
  out.set([0x53, 0x69, 0x6d, 0x75, 0x6c, 0x61, 0x74, 0x65, 0x64], 1);
  out[10] = board.settings.machine ?? 0;
  out.set(board.station.macBytes, 11);
  return out;
}
