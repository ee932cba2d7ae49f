/**
 * Hears what nodes say of themselves over UDP (port 6666): a Raspberry Pi's
 * boot ROM (`NETCONSOLE` in its EEPROM), Linux' netconsole. Never answers.
 *
 * The sender proves nothing: its lines are told under its address, are bounded
 * per sender and in all, and decide nothing.
 */

import { type Ipv4Address, type MacAddress, milliseconds } from "#protocol/brand.ts";
import { createTokenBuckets } from "#protocol/token-bucket.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { EventBus } from "../events.ts";
import { contains } from "../lease/leases.ts";
import type { Log } from "../log.ts";
import type { DatagramSocket, openDatagramSocket } from "../net/udp.ts";
import { createLineAssembler } from "./lines.ts";

/** Lines of one sender are gathered for so long into one event. */
const gather = milliseconds(500);
/** Lines of one event; of one sender, 80 in a second at most. */
const maxLines = 40;
const maxSenders = 1024;
/** Datagrams. A kernel that boots sends a thousand in some seconds. */
const ofSender = { burst: 4000, perSecond: 100, sources: maxSenders };
const ofAll = { burst: 20_000, perSecond: 2000, sources: 1 };

export type NetconsoleOutcome = "heard" | "foreign-source" | "too-often";

export interface Netconsole {
  /** Datagrams by outcome since the start. */
  counts(): Readonly<Record<NetconsoleOutcome, number>>;
  close(): Promise<void>;
}

export interface NetconsoleContext {
  readonly config: Pick<Config, "netconsolePort" | "subnets">;
  readonly interfaceName: string;
  readonly leases: { macOf(address: Ipv4Address): MacAddress | undefined };
  readonly events: Pick<EventBus, "publish">;
  readonly clock: Clock;
  readonly log: Log;
  readonly openSocket: typeof openDatagramSocket;
}

/** A port that is taken is logged, not thrown: no node needs this to boot. */
export async function startNetconsole(context: NetconsoleContext): Promise<Netconsole> {
  const { config, interfaceName, leases, events, clock } = context;
  const subnets = config.subnets.filter((subnet) => subnet.interface === interfaceName);
  const assembler = createLineAssembler(maxSenders);
  const perSender = createTokenBuckets(ofSender);
  const together = createTokenBuckets(ofAll);
  const counts = { heard: 0, "foreign-source": 0, "too-often": 0 };
  const waiting = new Map<string, string[]>();

  const socket = await open(context);
  if (!socket) return { counts: () => ({ ...counts }), close: async () => undefined };
  const note = (sender: string, lines: readonly string[]) => {
    if (lines.length === 0) return;
    const own = waiting.get(sender) ?? [];
    waiting.set(sender, own);
    for (const line of lines) if (own.length < 2 * maxLines) own.push(line);
  };
  const tell = () => {
    for (const [sender, line] of assembler.overdue(clock.monotonic())) note(sender, [line]);
    for (const [sender, lines] of waiting) {
      const address = sender as Ipv4Address; // the keys are addresses of senders
      const mac = leases.macOf(address);
      const told = lines.splice(0, maxLines);
      if (lines.length === 0) waiting.delete(sender);
      events.publish({ topic: "netconsole", address, ...(mac && { mac }), lines: told });
    }
  };
  socket.onMessage((bytes, from) => {
    const outcome = hear(bytes, from.address);
    counts[outcome] += 1;
  });
  const stop = clock.every(gather, tell);

  function hear(bytes: Uint8Array, address: Ipv4Address): NetconsoleOutcome {
    if (!subnets.some((subnet) => contains(subnet, address))) return "foreign-source";
    const now = clock.monotonic();
    if (!perSender.take(address, now) || !together.take("all", now)) return "too-often";
    note(address, assembler.take(address, bytes, now));
    return "heard";
  }

  return {
    counts: () => ({ ...counts }),
    async close() {
      stop();
      tell();
      await socket.close();
    },
  };
}

async function open(context: NetconsoleContext): Promise<DatagramSocket | undefined> {
  const { config, interfaceName, openSocket, log } = context;
  const port = config.netconsolePort;
  if (port === 0) return undefined;
  try {
    return await openSocket({ interface: interfaceName, port, broadcast: true }, log);
  } catch (error) {
    log.warn({ err: error, interface: interfaceName, port }, "netconsole is not heard");
    return undefined;
  }
}
