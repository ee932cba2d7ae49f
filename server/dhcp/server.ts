/**
 * The DHCP edge: one socket per interface named by a subnet, and nothing else.
 *
 * Packets come in, `handler.ts` decides, this file delivers. What the network
 * sends wrong is counted and dropped here, once; whatever else goes wrong with
 * one packet is logged and does not disturb the next.
 */

import { type Milliseconds, milliseconds } from "#protocol/brand.ts";
import type { DhcpMessage } from "#protocol/events.ts";
import type { Boot } from "../boot/profile.ts";
import type { Clock } from "../clock.ts";
import type { Config, Subnet } from "../config.ts";
import { ConfigurationError, PacketError, PoolExhaustedError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { Admission } from "../lease/admission.ts";
import { contains, type Leases, within } from "../lease/leases.ts";
import type { Log } from "../log.ts";
import { interfaceAddress } from "../net/interfaces.ts";
import { neighbourOf } from "../net/neighbour-table.ts";
import type { Neighbour, Neighbours } from "../net/neighbours.ts";
import { type DatagramSocket, openDatagramSocket, type Sender } from "../net/udp.ts";
import { type MessageType, readMessageType, readOption } from "./codec/options.ts";
import { type DhcpPacket, decodePacket, encodePacket } from "./codec/packet.ts";
import type { Decision, HandlerContext } from "./decision.ts";
import { limitedBroadcast, unspecified } from "./destination.ts";
import { openDetector } from "./detector.ts";
import { handlePacket } from "./handler.ts";
import { givesAddresses, mayBeProxy } from "./mode.ts";
import { openProxyPort } from "./proxy-port.ts";
import { createRecent } from "./recent.ts";
import type { Sightings } from "./sightings.ts";

/** How often neighbour entries are written anew: the kernel drops them when a link goes down. */
const neighbourPeriod: Milliseconds = milliseconds(60_000);
const expiryPeriod: Milliseconds = milliseconds(30_000);

export interface DhcpMetrics {
  /** `malformed`, `failed`, `offer`, `ack`, `nak`, or a reason for silence. */
  packet(interfaceName: string, outcome: string): void;
}

export interface DhcpContext {
  readonly config: Pick<
    Config,
    "subnets" | "dhcpPort" | "bootPort" | "proxyPort" | "raspberryPiPrefixes"
  >;
  readonly leases: Leases;
  readonly admission: Admission;
  readonly boot: Pick<Boot, "reply">;
  readonly neighbours: Neighbours;
  readonly events: EventBus;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics?: DhcpMetrics;
  /** Needed by TFTP and HTTP boot where a subnet may be in mode `proxy`. */
  readonly sightings?: Sightings;
}

export interface DhcpServer {
  /** Packets by outcome since the start, over all interfaces. */
  counts(): Readonly<Record<string, number>>;
  close(): Promise<void>;
}

/**
 * @throws ConfigurationError when an interface has no address, the address lies in a range
 *   that is handed out or outside every subnet of the interface, or the port is taken.
 */
export async function startDhcp(context: DhcpContext): Promise<DhcpServer> {
  const counts: Record<string, number> = {};
  const count = (interfaceName: string, outcome: string) => {
    counts[outcome] = (counts[outcome] ?? 0) + 1;
    context.metrics?.packet(interfaceName, outcome);
  };
  const segments: Segment[] = [];
  const opened: Opened[] = [];
  const close = async () => {
    for (const stop of stops) stop();
    await Promise.all(opened.map((one) => one.close()));
  };
  const stops = [
    context.clock.every(expiryPeriod, () => context.leases.expire()),
    context.clock.every(neighbourPeriod, () => void writeNeighbours(segments, context)),
  ];
  try {
    for (const [interfaceName, subnets] of byInterface(context.config.subnets)) {
      if (subnets.every(({ mode }) => mode === "off")) continue;
      const segment = await openSegment(interfaceName, subnets, { ...context, opened, count });
      segments.push(segment);
      segment.socket.onMessage((bytes, from) => {
        const outcome = receive(bytes, from, segment, context);
        if (outcome !== "own-probe") count(interfaceName, outcome);
      });
    }
  } catch (error) {
    await close();
    throw error;
  }
  await writeNeighbours(segments, context);
  return { counts: () => counts, close };
}

interface Opened {
  close(): Promise<void>;
}

/** One interface with its socket. */
interface Segment {
  readonly interfaceName: string;
  readonly socket: DatagramSocket;
  readonly handler: HandlerContext;
}

async function openSegment(
  interfaceName: string,
  subnets: readonly Subnet[],
  context: DhcpContext & {
    /** Whatever is opened is added at once, so that it is closed when the rest fails. */
    readonly opened: Opened[];
    readonly count: (interfaceName: string, outcome: string) => void;
  },
): Promise<Segment> {
  const { config, log, opened } = context;
  const address = interfaceAddress(interfaceName);
  const local = subnets.find((subnet) => contains(subnet, address));
  if (!local) {
    throw new ConfigurationError(
      `interface ${interfaceName} has ${address}, which is in none of its subnets: ` +
        subnets.map(({ cidr }) => cidr).join(", "),
    );
  }
  const range = [local.reserved, local.pool].find((one) => one && within(one, address));
  if (range) {
    throw new ConfigurationError(
      `the server's own ${address} lies in ${range.first} - ${range.last}, which is handed out`,
    );
  }
  const socket = await openDatagramSocket(
    { interface: interfaceName, port: config.dhcpPort, broadcast: true },
    log,
  );
  opened.push(socket);
  log.info({ interface: interfaceName, address, subnet: local.cidr }, "DHCP listens");
  const here = { ...context, interfaceName, address };
  const detector = await openDetector({ ...here, subnets, dhcpPort: config.dhcpPort, neighbourOf });
  opened.push(detector);
  const handler: HandlerContext = {
    subnets: [local, ...subnets.filter((subnet) => subnet !== local)],
    server: { address, httpUrl: `http://${address}:${config.bootPort}` },
    leases: context.leases,
    admission: context.admission,
    boot: context.boot,
    events: context.events,
    recent: createRecent(),
    modes: detector,
    others: detector,
    raspberryPiPrefixes: config.raspberryPiPrefixes,
    ...(context.sightings && { sightings: context.sightings }),
  };
  if (subnets.some(mayBeProxy)) {
    const onOutcome = (outcome: string) => context.count(interfaceName, outcome);
    opened.push(await openProxyPort({ ...here, port: config.proxyPort, handler, onOutcome }));
  }
  return { interfaceName, socket, handler };
}

/** The only place that catches what a packet causes. */
function receive(bytes: Uint8Array, from: Sender, segment: Segment, context: DhcpContext): string {
  const { interfaceName } = segment;
  const { log } = context;
  try {
    const asked = decodePacket(bytes);
    const decision = handlePacket(asked, segment.handler);
    tell(asked, decision, segment, context);
    if (decision.kind === "silence") {
      log.debug(
        { interface: interfaceName, mac: decision.mac, reason: decision.reason },
        "DHCP silent",
      );
      return decision.reason;
    }
    const { type, mac, packet } = decision;
    log.info(
      { interface: interfaceName, mac, address: packet.yiaddr, xid: packet.xid, file: packet.file },
      `DHCP ${type}`,
    );
    void deliver(decision, segment, context);
    return type;
  } catch (error) {
    if (error instanceof PacketError) {
      log.debug(
        { err: error, interface: interfaceName, from: from.address },
        "DHCP packet dropped",
      );
      return "malformed";
    }
    if (error instanceof PoolExhaustedError) {
      log.warn({ err: error, interface: interfaceName }, "DHCP has no address left");
      return error.code;
    }
    log.error({ err: error, interface: interfaceName }, "DHCP packet failed");
    return "failed";
  }
}

/** The event of one message and what came of it; none for what is no client's message. */
function tell(
  asked: DhcpPacket,
  decision: Decision,
  { interfaceName, handler }: Segment,
  { events }: DhcpContext,
): void {
  const message = readMessageType(asked.options);
  const { mac } = decision;
  if (mac === undefined || !isClientMessage(message)) return;
  const earlier = handler.recent.get(mac); // this very message's, unless an OS asks that tells no firmware
  const firmware = earlier?.xid === asked.xid ? earlier.client.firmware : undefined;
  const reply = decision.kind === "reply" ? decision : undefined;
  const address = reply?.packet.yiaddr ?? readOption(asked.options, "requestedAddress");
  events.publish({
    topic: "dhcp",
    mac,
    message,
    outcome: decision.kind === "reply" ? decision.type : decision.reason,
    interface: interfaceName,
    xid: asked.xid,
    ...(address !== undefined && address !== unspecified && { address }),
    ...(firmware && { firmware }),
    ...(reply?.packet.file && { file: reply.packet.file }),
  });
}

function isClientMessage(type: MessageType | undefined): type is DhcpMessage {
  return type !== undefined && type !== "offer" && type !== "ack" && type !== "nak";
}

/** Sends the reply once what it promises is on stable storage. Never rejects. */
async function deliver(
  decision: Extract<Decision, { kind: "reply" }>,
  segment: Segment,
  context: DhcpContext,
): Promise<void> {
  try {
    await context.leases.committed();
  } catch (error) {
    const { interfaceName } = segment;
    const { mac } = decision;
    context.metrics?.packet(interfaceName, "not-durable");
    return context.log.error({ err: error, interface: interfaceName, mac }, "DHCP reply withheld");
  }
  if (decision.delay) await context.clock.sleep(decision.delay);
  return send(decision, segment, context);
}

async function send(
  { packet, destination, mac }: Extract<Decision, { kind: "reply" }>,
  { interfaceName, socket }: Segment,
  { config, neighbours, log }: DhcpContext,
): Promise<void> {
  const bytes = encodePacket(packet);
  const clientPort = config.dhcpPort + 1;
  switch (destination.kind) {
    case "relay":
      return socket.send(bytes, config.dhcpPort, destination.address);
    case "broadcast":
      // The address may have been another client's: its permanent entry would swallow the boot files.
      if (packet.yiaddr !== unspecified) {
        await neighbours.set(packet.yiaddr, mac, interfaceName).catch((error: unknown) => {
          log.debug({ err: error, mac }, "no neighbour entry");
        });
      }
      return socket.send(bytes, clientPort, destination.address);
    case "unicast":
      return socket.send(bytes, clientPort, destination.address);
    case "neighbour":
      try {
        await neighbours.set(destination.address, mac, interfaceName);
        return socket.send(bytes, clientPort, destination.address);
      } catch (error) {
        const fields = { err: error, interface: interfaceName, mac };
        if (destination.fallback === "silence") {
          return log.error(fields, "no neighbour entry, so this Raspberry Pi cannot be answered");
        }
        log.debug(fields, "no neighbour entry, so the reply is broadcast");
        return socket.send(bytes, clientPort, limitedBroadcast);
      }
  }
}

/** Entries for all reserved nodes where we give the addresses, in one batch. Never rejects. */
async function writeNeighbours(
  segments: readonly Segment[],
  { leases, neighbours, log }: DhcpContext,
): Promise<void> {
  const served = segments.flatMap(({ handler }) =>
    handler.subnets.filter((subnet) => givesAddresses(handler.modes?.of(subnet))),
  );
  const entries = leases.reservations().flatMap(({ mac, address }): Neighbour[] => {
    const subnet = served.find((one) => contains(one, address));
    return subnet ? [{ mac, address, interfaceName: subnet.interface }] : [];
  });
  try {
    await neighbours.setAll(entries);
  } catch (error) {
    log.warn(
      { err: error },
      "neighbour entries cannot be written (CAP_NET_ADMIN): Raspberry Pi 3 racks will be unreliable",
    );
  }
}

function byInterface(subnets: readonly Subnet[]): ReadonlyMap<string, readonly Subnet[]> {
  return Map.groupBy(subnets, (subnet) => subnet.interface);
}
