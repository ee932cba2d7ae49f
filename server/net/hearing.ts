/**
 * Whether the server can hear its nodes at all. While an interface it serves has no link, or has lost its
 * address, whoever is behind it is not silent: their clock is held, and a person is told.
 *
 * The kernel's own list is asked once a second (0.1 ms); it leaves out what is down or has no carrier.
 */

import { networkInterfaces } from "node:os";
import { type Ipv4Address, type Milliseconds, milliseconds } from "#protocol/brand.ts";
import { type Clock, type HoldableClock, holdableClock } from "../clock.ts";
import type { EventBus } from "../events.ts";
import type { Log } from "../log.ts";

const lookPeriod = milliseconds(1000);
/** A link that is negotiated anew comes back sooner. */
const toldAfter = milliseconds(5000);

/** By name, with the addresses each has; without those that are down or have no carrier. */
export type LiveInterfaces = () => Readonly<
  Partial<Record<string, readonly { readonly address: string }[]>>
>;

export interface HearingContext {
  /** The server's own addresses, each with its interface. */
  readonly segments: readonly { readonly interfaceName: string; readonly address: Ipv4Address }[];
  readonly clock: Clock;
  readonly events: Pick<EventBus, "publish">;
  readonly log: Pick<Log, "warn" | "info">;
  /** Default: the machine's. */
  readonly live?: LiveInterfaces;
}

export interface Hearing {
  /** Counts while the server hears on at least one of its interfaces. */
  readonly clock: Clock;
  /** Counts while the server hears on this interface. */
  clockOf(interfaceName: string): Clock;
  /** Ends the looking. */
  close(): void;
}

interface Ear {
  readonly interfaceName: string;
  readonly address: Ipv4Address;
  readonly clock: HoldableClock;
  /** By the clock of all. */
  deafSince: Milliseconds | undefined;
  isTold: boolean;
}

export function createHearing(context: HearingContext): Hearing {
  const { clock, events, log, live = networkInterfaces } = context;
  /** So that each such loss is told, not one a day (notify/occasions.ts). */
  const timeText = (since: Milliseconds) =>
    new Date(clock.now() - (clock.monotonic() - since)).toISOString().slice(0, 19);
  const ears = context.segments.map(
    (segment): Ear => ({
      ...segment,
      clock: holdableClock(clock),
      deafSince: undefined,
      isTold: false,
    }),
  );
  const whole = holdableClock(clock);

  const look = (): void => {
    const found = live();
    const now = clock.monotonic();
    for (const ear of ears) listen(ear, found[ear.interfaceName], now);
    if (ears.every(({ deafSince }) => deafSince !== undefined)) whole.hold();
    else whole.release();
  };
  const listen = (
    ear: Ear,
    addresses: readonly { readonly address: string }[] | undefined,
    now: Milliseconds,
  ): void => {
    const { interfaceName, address } = ear;
    if (addresses?.some((one) => one.address === address)) {
      hear(ear, now);
      return;
    }
    ear.clock.hold();
    ear.deafSince ??= now;
    if (ear.isTold || now - ear.deafSince < toldAfter) return;
    ear.isTold = true;
    const [lack, remedy] = addresses
      ? [`has lost its address ${address}`, "give it back"]
      : ["has no link", "look at its cable and at the switch"];
    const since = `since ${timeText(ear.deafSince)}Z`;
    log.warn({ interface: interfaceName, address }, "no node can be heard there");
    alarm(
      `the server's interface ${interfaceName} ${lack} ${since}: no node can be heard there; their jobs wait meanwhile, and none is taken for silent (${remedy})`,
    );
  };
  const hear = (ear: Ear, now: Milliseconds): void => {
    if (ear.deafSince === undefined) return;
    const seconds = Math.round((now - ear.deafSince) / 1000);
    ear.clock.release();
    ear.deafSince = undefined;
    log.info({ interface: ear.interfaceName, seconds }, "nodes can be heard again");
    if (!ear.isTold) return;
    ear.isTold = false;
    alarm(
      `the server's interface ${ear.interfaceName} is back after ${seconds} s: its nodes are given that time`,
    );
  };
  const alarm = (text: string): void => events.publish({ topic: "alarm", text });

  return {
    clock: whole,
    clockOf: (interfaceName) =>
      ears.find((ear) => ear.interfaceName === interfaceName)?.clock ?? whole,
    close: clock.every(lookPeriod, look),
  };
}
