/**
 * Announces services to other programs' browsers on one link: asks whether its names are free
 * (RFC 6762 §8.1), says what there is (§8.3), answers, and takes everything back at the end (§10.1).
 *
 * A name that somebody else has gets a number behind it. Changed services are announced when they
 * change, and those that are gone taken back.
 */

import { setImmediate } from "node:timers/promises";
import type { Milliseconds } from "#protocol/brand.ts";
import { canonicalJson } from "#protocol/discovery.ts";
import type { Kept } from "../keep.ts";
import type { Service } from "../services.ts";
import type { Link, OpenSocket, Socket } from "../sockets.ts";
import {
  type DnsRecord,
  decodeDns,
  encodeData,
  encodeDns,
  isSameName,
  type Message,
} from "./message.ts";
import { type Host, recordsOf } from "./records.ts";
import { createDnsResponder, isSameRecord, mdnsPort, responses } from "./responder.ts";

export interface AnnounceContext {
  readonly link: Link;
  readonly services: () => readonly Service[];
  /** Its name and label get a number when somebody else has them. */
  readonly host: Host;
  readonly open: OpenSocket;
  readonly monotonic: () => Milliseconds;
  /** Resolves after the time, or at once when `signal` aborts. */
  readonly sleep: (duration: Milliseconds, signal: AbortSignal) => Promise<void>;
  /** 0 to 1. */
  readonly random?: () => number;
  /** The name under which browsers see the host. */
  readonly onNamed?: (name: string) => void;
}

/** RFC 6762 §3. */
const groups = { 4: "224.0.0.251", 6: "ff02::fb" } as const;
const probePause = 250 as Milliseconds;
const probes = 3;
const announcePause = 1000 as Milliseconds;
/** Services are looked at again so often. */
const lookPause = 2000 as Milliseconds;
/** More tries for a name than anybody has servers. */
const maxNumber = 20;

/** @throws the system's error when the link's group cannot be heard */
export async function announce(context: AnnounceContext): Promise<Kept> {
  const { link, monotonic, random = Math.random } = context;
  const group = groups[link.family];
  const socket = await context.open(link, { port: mdnsPort, group, hops: 255 });
  const ending = new AbortController();
  const { signal } = ending;
  const state: State = { number: 1, isProbing: true, isTaken: false, said: [] };
  const sleep = (duration: number) => context.sleep(duration as Milliseconds, signal);
  const responder = createDnsResponder(() => state.said);

  socket.onMessage((bytes, from) => {
    if (!link.reaches(from.address)) return; // RFC 6762 §11: from this link only
    const message = decodeDns(bytes);
    if (!message) return;
    if (state.isProbing) {
      state.isTaken ||= claims(message, wanted(context, state.number));
      return;
    }
    for (const { bytes: reply, to, isShared } of responder.answer(
      message,
      from.port,
      monotonic(),
    )) {
      const send = () =>
        to === "group"
          ? socket.send(reply, mdnsPort, group)
          : socket.send(reply, from.port, from.address);
      if (isShared) void sleep(20 + random() * 100).then(() => signal.aborted || send());
      else send();
    }
  });

  const life = live(context, { socket, group, state, sleep, signal });
  return {
    async close() {
      ending.abort();
      await life;
      say(
        socket,
        group,
        state.said.map((record) => ({ ...record, ttl: 0 })),
      );
      await setImmediate(); // a datagram leaves in the next turn, and not from a closed socket
      await socket.close();
    },
  };
}

interface State {
  /** Behind the name, from 2 on. */
  number: number;
  isProbing: boolean;
  /** Somebody else has a name we probed for. */
  isTaken: boolean;
  /** Records announced, and not taken back. */
  said: readonly DnsRecord[];
}

interface Living {
  readonly socket: Socket;
  readonly group: string;
  readonly state: State;
  readonly sleep: (duration: number) => Promise<void>;
  readonly signal: AbortSignal;
}

async function live(context: AnnounceContext, living: Living): Promise<void> {
  const { socket, group, state, sleep, signal } = living;
  await probe(context, living);
  context.onNamed?.(hostOf(context, state.number).name);
  while (!signal.aborted) {
    const now = wanted(context, state.number);
    if (canonicalJson(now) !== canonicalJson(state.said)) {
      const gone = state.said.filter((one) => !now.some((other) => isSameRecord(one, other)));
      say(
        socket,
        group,
        gone.map((record) => ({ ...record, ttl: 0 })),
      );
      state.said = now;
      say(socket, group, now);
      await sleep(announcePause);
      if (!signal.aborted) say(socket, group, now);
    }
    await sleep(lookPause);
  }
}

/** Until nobody has objected to a name. */
async function probe(
  context: AnnounceContext,
  { socket, group, state, sleep, signal }: Living,
): Promise<void> {
  const { random = Math.random } = context;
  await sleep(random() * probePause);
  for (; state.number < maxNumber && !signal.aborted; state.number++) {
    state.isTaken = false;
    const authorities = wanted(context, state.number).filter(({ isUnique }) => isUnique);
    const names = authorities.map(({ name }) => name);
    const questions = names
      .filter((name, at) => names.findIndex((other) => isSameName(other, name)) === at)
      .map((name) => ({ name, type: "ANY", wantsUnicast: false }) as const); // we hear the group only
    for (let count = 0; count < probes && !signal.aborted && !state.isTaken; count++) {
      const bytes = encodeDns({ isResponse: false, questions, authorities });
      socket.send(bytes, mdnsPort, group);
      await sleep(probePause);
    }
    if (!state.isTaken) break;
  }
  state.isProbing = false;
}

/**
 * Whether we must give way: somebody has one of our names with other data; or probes for it at the
 * same time, with data that come later in order (RFC 6762 §8.2), so that only one of both goes.
 */
function claims(message: Message, ours: readonly DnsRecord[]): boolean {
  const theirs = message.isResponse
    ? [...message.answers, ...message.additionals]
    : message.authorities;
  return theirs.some((one) => {
    const same = ours.filter(
      (own) => own.isUnique && own.type === one.type && isSameName(own.name, one.name),
    );
    if (same.length === 0 || same.some((own) => isSameRecord(own, one))) return false;
    return message.isResponse || same.every((own) => comesLater(one, own));
  });
}

function comesLater(one: DnsRecord, other: DnsRecord): boolean {
  return Buffer.compare(encodeData(one), encodeData(other)) > 0;
}

function wanted(context: AnnounceContext, number: number): readonly DnsRecord[] {
  return recordsOf(context.services(), hostOf(context, number));
}

function hostOf({ host }: AnnounceContext, number: number): Host {
  if (number === 1) return host;
  return { ...host, name: `${host.name} (${number})`, label: `${host.label}-${number}` };
}

function say(socket: Socket, group: string, records: readonly DnsRecord[]): void {
  for (const bytes of responses(records)) socket.send(bytes, mdnsPort, group);
}
