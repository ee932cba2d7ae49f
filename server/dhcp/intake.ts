/**
 * The order in which messages are looked at. A node that has an address here is
 * served at once; strangers wait until the socket has been read, a few per turn of
 * the event loop, so that a flood of invented hardware addresses delays only itself.
 *
 *   known                  at once; beyond {@link perSecond} a second: dropped
 *   stranger               in the queue, the oldest is dropped when it is full
 *
 * Whether a message is written to the log and told to the other rooms is decided
 * here too: always for a reserved node, within a budget for anybody else.
 */

import { type MacAddress, type Milliseconds, macAddressFrom } from "#protocol/brand.ts";
import { createTokenBuckets } from "#protocol/token-bucket.ts";

/** Messages per second of one known hardware address; a firmware sends two in a second. */
const perSecond = 32;
/** Hardware addresses counted at a time. */
const maximumCounted = 16_384;
const queueLength = 512;
/** Strangers looked at before the socket is read again; the kernel gives up to 32 messages at a time. */
const perTurn = 32;
/** What strangers may cause in the log and the journal: a rack that is learnt at once, then little. */
const told = { burst: 512, perSecond: 20, sources: 1 } as const;

const chaddr = 28; // RFC 2131 §2, figure 1

export type Standing = "reserved" | "leased" | "stranger";

export interface IntakeContext<Message> {
  standingOf(mac: MacAddress): Standing;
  /** @param isTold - the log and the other rooms may hear of it */
  handle(message: Message, isTold: boolean): void;
  /** A message that nobody looked at. */
  drop(message: Message): void;
  readonly clock: { monotonic(): Milliseconds };
  /** Runs `work` after the sockets were read. */
  readonly later?: (work: () => void) => unknown;
}

export interface Intake<Message> {
  take(bytes: Uint8Array, message: Message): void;
  /** The socket is empty: strangers need not wait for the next turn. */
  allTaken(): void;
}

export function createIntake<Message>(context: IntakeContext<Message>): Intake<Message> {
  const { standingOf, handle, drop, clock, later = setImmediate } = context;
  const budget = createTokenBuckets(told);
  const counted = new Map<MacAddress, number>();
  let second = 0;
  let queue: Message[] = [];
  let isScheduled = false;

  const isTold = () => budget.take("", clock.monotonic());
  const isTooMuch = (mac: MacAddress): boolean => {
    const now = Math.floor(clock.monotonic() / 1000);
    if (now !== second || counted.size >= maximumCounted) counted.clear();
    second = now;
    const count = (counted.get(mac) ?? 0) + 1;
    counted.set(mac, count);
    return count > perSecond;
  };
  const schedule = (): void => {
    if (isScheduled) return;
    isScheduled = true;
    later(drain);
  };
  const drain = (): void => {
    isScheduled = false;
    const turn = queue.slice(0, perTurn);
    queue = queue.slice(perTurn);
    if (queue.length > 0) schedule();
    for (const message of turn) handle(message, isTold());
  };
  return {
    allTaken() {
      if (queue.length > 0) drain();
    },
    take(bytes, message) {
      const mac = macAddressFrom(bytes, chaddr);
      const standing = standingOf(mac);
      if (standing === "stranger") {
        queue.push(message);
        const oldest = queue.length > queueLength ? queue.shift() : undefined;
        if (oldest !== undefined) drop(oldest);
        return schedule();
      }
      if (isTooMuch(mac)) return drop(message);
      handle(message, standing === "reserved" || isTold());
    },
  };
}
