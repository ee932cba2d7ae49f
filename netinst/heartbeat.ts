/**
 * Beats while there is nothing to do, so that the server knows we are here and can call us
 * without a connection (protocol/heartbeat.ts). Where the way for UDP is closed nothing is
 * answered, and the agent goes on by long polls.
 */

import { createHmac } from "node:crypto";
import { createSocket } from "node:dgram";
import {
  type Answer,
  decodeAnswer,
  encodeBeat,
  type HeartbeatOffer,
  type Mac,
  macOctets,
  wants,
} from "#protocol/heartbeat.ts";
import { sleep } from "./wait.ts";

export interface Heartbeat extends Disposable {
  /** The server answers, or was not asked for a second yet: it can call us. */
  readonly isHeard: boolean;
  /** The server asked for a check-in since the last one. */
  readonly mustCheckIn: boolean;
  /** After each check-in: goes on with its key and round. */
  renew(offer: HeartbeatOffer): void;
  /** Says at once what we have. */
  beat(): void;
  /**
   * Waits for the server's next call.
   *
   * @returns false when there was none for `limitMs`, we are not heard any more, or `signal` aborted
   */
  called(limitMs: number, signal: AbortSignal): Promise<boolean>;
}

export interface HeartbeatContext {
  /** Of the agent listener. */
  readonly host: string;
  readonly nodeId: string;
  /** `<task>:<epoch>:<action>` of the assignment taken last. */
  readonly having: () => string | undefined;
  /** Somebody looks at this node. */
  readonly onWatched: () => void;
  /** The server answered. */
  readonly onHeard: () => void;
}

/** An unanswered beat is repeated after 1, 2, 4 and 8 s: the server may be starting again. */
const firstRepeatMs = 1000;
const patience = 4;
/** While nothing was answered ever, the way may be closed: one repeat is enough to tell. */
const firstPatience = 1;

export function startHeartbeat(context: HeartbeatContext, offer: HeartbeatOffer): Heartbeat {
  let { key, periodMs, round } = termsOf(offer);
  let counter = 0;
  /** Of the newest answer of the round. */
  let serial = -1;
  let isWaiting = false;
  let repeats = 0;
  let mostRepeats = firstPatience;
  let isHeard = true;
  let mustCheckIn = false;
  let isOpen = false;
  let timer: NodeJS.Timeout | undefined;
  let wake = (_isCall: boolean): void => undefined;
  const mac: Mac = (octets) =>
    createHmac("sha256", key).update(octets).digest().subarray(0, macOctets);

  const socket = createSocket("udp4");
  socket.on("error", () => undefined); // refused or no way: as if unanswered
  socket.on("message", (octets) => {
    const answer = decodeAnswer(octets);
    if (answer?.isGenuine(mac)) hear(answer.message);
  });
  socket.connect(offer.port, context.host, () => {
    isOpen = true;
    beat();
  });

  function hear(answer: Answer): void {
    if (answer.round !== round) {
      if (answer.counter !== counter) return; // not to the question that is open
      round = answer.round;
      serial = answer.serial;
      beat();
      return;
    }
    if (answer.serial <= serial || answer.counter > counter) return;
    serial = answer.serial;
    isWaiting = false;
    repeats = 0;
    mostRepeats = patience;
    isHeard = true;
    const has = (bit: number) => (answer.wants & bit) !== 0;
    const isNew = has(wants.checkIn) && !mustCheckIn;
    mustCheckIn ||= isNew;
    schedule(periodMs * (0.9 + Math.random() / 10)); // a rack that starts together spreads out
    context.onHeard();
    if (has(wants.load)) context.onWatched();
    if (has(wants.assignment) || isNew) wake(has(wants.assignment));
  }

  function beat(): void {
    if (!isOpen) return;
    send();
    if (isWaiting) return;
    isWaiting = true;
    schedule(firstRepeatMs);
  }

  function send(): void {
    counter++;
    const having = context.having() ?? "";
    const { nodeId } = context;
    socket.send(encodeBeat({ counter, round, nodeId, having }, mac), () => undefined);
  }

  /** The time for the next beat has come, or for the last one again. */
  function repeat(): void {
    if (!isWaiting) {
      beat();
      return;
    }
    send();
    repeats++;
    schedule(Math.min(periodMs, firstRepeatMs * 2 ** repeats));
    if (!isHeard || repeats < mostRepeats) return;
    isHeard = false;
    wake(false);
  }

  function schedule(delayMs: number): void {
    clearTimeout(timer);
    timer = setTimeout(repeat, delayMs);
  }

  return {
    get isHeard() {
      return isHeard;
    },
    get mustCheckIn() {
      return mustCheckIn;
    },
    renew(next) {
      ({ key, periodMs, round } = termsOf(next));
      counter = 0;
      serial = -1;
      mustCheckIn = false;
      beat();
    },
    beat,
    async called(limitMs, signal) {
      const over = new AbortController();
      let isCalled = false;
      wake = (isCall) => {
        isCalled = isCall;
        over.abort();
      };
      await sleep(limitMs, AbortSignal.any([signal, over.signal]));
      wake = () => undefined;
      return isCalled;
    },
    [Symbol.dispose]() {
      isOpen = false;
      clearTimeout(timer);
      socket.close();
    },
  };
}

function termsOf({ key, round, seconds }: HeartbeatOffer) {
  return { key: Buffer.from(key, "base64"), round, periodMs: seconds * 1000 };
}
