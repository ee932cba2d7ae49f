/**
 * The DHCP edge: one socket per interface named by a subnet, and nothing else.
 *
 * Packets come in, `handler.ts` decides, this file delivers. What the network
 * sends wrong is counted and dropped here, once; whatever else goes wrong with
 * one packet is logged and does not disturb the next.
 */

import { type Milliseconds, macAddressFrom, milliseconds } from "#protocol/brand.ts";
import type { DhcpMessage } from "#protocol/events.ts";
import type { Boot } from "../boot/profile.ts";
import type { Clock } from "../clock.ts";
import type { Config, Subnet } from "../config.ts";
import { ConfigurationError, PacketError, PoolExhaustedError } from "../errors.ts";
import type { EventBus, UnhurriedBus } from "../events.ts";
import type { Admission } from "../lease/admission.ts";
import { contains, type Leases, within } from "../lease/leases.ts";
import type { Log } from "../log.ts";
import { openArpProbe } from "../net/arp-probe.ts";
import { interfaceAddress, interfaceMac } from "../net/interfaces.ts";
import { neighbourOf } from "../net/neighbour-table.ts";
import type { Neighbour, Neighbours } from "../net/neighbours.ts";
import { type DatagramSocket, openDatagramSocket, type Sender } from "../net/udp.ts";
import { type MessageType, readMessageType, readOption } from "./codec/options.ts";
import { type DhcpPacket, decodePacket } from "./codec/packet.ts";
import type { Decision, HandlerContext } from "./decision.ts";
import { type Delivery, openDelivery } from "./delivery.ts";
import { unspecified } from "./destination.ts";
import { openDetector } from "./detector.ts";
import { handlePacket } from "./handler.ts";
import { createIntake } from "./intake.ts";
import { givesAddresses, mayBeProxy } from "./mode.ts";
import { openProxyPort } from "./proxy-port.ts";
import { createRecent } from "./recent.ts";
import type { Sightings } from "./sightings.ts";
import { createVetting, type Vetting } from "./vetting.ts";

/** How often neighbour entries are written anew: the kernel drops them when a link goes down. */
const neighbourPeriod: Milliseconds = milliseconds(60_000);
const expiryPeriod: Milliseconds = milliseconds(30_000);

/** Packets by what came of them: `malformed`, `failed`, `offer`, `ack`, `nak`, or a reason for silence. */
export type DhcpCounts = Readonly<Record<string, number>>;

export interface DhcpContext {
  readonly config: Pick<
    Config,
    | "subnets"
    | "dhcpPort"
    | "bootPort"
    | "proxyPort"
    | "raspberryPiPrefixes"
    | "routerAdvertisements"
  >;
  readonly leases: Leases;
  readonly admission: Admission;
  readonly boot: Pick<Boot, "reply">;
  readonly neighbours: Neighbours;
  readonly events: UnhurriedBus;
  readonly clock: Clock;
  readonly log: Log;
  /** Needed by TFTP and HTTP boot where a subnet may be in mode `proxy`. */
  readonly sightings?: Sightings;
}

export interface DhcpServer {
  /** Since the start, by interface. */
  counts(): ReadonlyMap<string, DhcpCounts>;
  close(): Promise<void>;
}

/**
 * @throws ConfigurationError when an interface has no address, the address lies in a range
 *   that is handed out or outside every subnet of the interface, or the port is taken.
 */
export async function startDhcp(context: DhcpContext): Promise<DhcpServer> {
  const counts = new Map<string, Record<string, number>>();
  const count = (interfaceName: string, outcome: string) => {
    const own = counts.get(interfaceName) ?? {};
    own[outcome] = (own[outcome] ?? 0) + 1;
    counts.set(interfaceName, own);
  };
  const segments: Segment[] = [];
  const opened: Opened[] = [];
  const close = async () => {
    for (const stop of stops) stop();
    await Promise.all(opened.map((one) => one.close()));
  };
  const stops = [
    context.clock.every(expiryPeriod, () => context.leases.expire()),
    context.clock.every(neighbourPeriod, () => writeNeighbours(segments, context)),
  ];
  try {
    for (const [interfaceName, subnets] of byInterface(context.config.subnets)) {
      if (subnets.every(({ mode }) => mode === "off")) continue;
      const segment = await openSegment(interfaceName, subnets, { ...context, opened, count });
      segments.push(segment);
      listen(segment, context, (outcome) => count(interfaceName, outcome));
    }
  } catch (error) {
    await close();
    throw error;
  }
  writeNeighbours(segments, context);
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
  /** The same, but what strangers do is not told to the other rooms. */
  readonly quietHandler: HandlerContext;
  readonly delivery: Delivery;
  readonly vetting: Vetting;
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
    { interface: interfaceName, port: config.dhcpPort, broadcast: true, busy: true },
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
  const mac = config.routerAdvertisements ? interfaceMac(interfaceName) : undefined;
  const delivery = await openDelivery({ ...here, mac, dhcpPort: config.dhcpPort, socket });
  opened.push(delivery);
  const probe = await openArpProbe(here);
  opened.push(probe);
  const vetting = createVetting({
    ...here,
    probe,
    subnet: () => (detector.of(local) === "dynamic" ? local : undefined),
  });
  opened.push({ close: async () => vetting.close() });
  const quietHandler = { ...handler, events: quiet(context.events) };
  return { interfaceName, socket, handler, quietHandler, delivery, vetting };
}

/** Alarms only. */
function quiet(events: EventBus): EventBus {
  return { ...events, publish: (event) => event.topic === "alarm" && events.publish(event) };
}

interface Message {
  readonly bytes: Uint8Array;
  readonly from: Sender;
}

function listen(segment: Segment, context: DhcpContext, count: (outcome: string) => void): void {
  const { leases, clock } = context;
  const intake = createIntake<Message>({
    standingOf(mac) {
      if (leases.reservationOf(mac)) return "reserved";
      return leases.addressOf(mac) === undefined ? "stranger" : "leased";
    },
    handle(message, isTold) {
      const outcome = receive(message, segment, context, isTold);
      if (outcome !== "own-probe") count(outcome);
    },
    drop: () => count("flood"),
    clock,
  });
  segment.socket.onMessage(
    (bytes, from) => intake.take(bytes, { bytes, from }),
    () => intake.allTaken(),
  );
}

/** The only place that catches what a packet causes. */
function receive(
  { bytes, from }: Message,
  segment: Segment,
  context: DhcpContext,
  isTold: boolean,
): string {
  const { interfaceName } = segment;
  const { log } = context;
  try {
    const asked = decodePacket(bytes);
    const before = context.leases.addressOf(macAddressFrom(asked.chaddr));
    const decision = handlePacket(asked, isTold ? segment.handler : segment.quietHandler);
    if (isTold) context.events.afterwards(() => tell(asked, decision, segment, context));
    if (decision.kind === "silence") return decision.reason;
    const { yiaddr } = decision.packet;
    const isNewHere =
      decision.type === "offer" &&
      yiaddr !== (before ?? unspecified) &&
      asked.giaddr === unspecified;
    const vetted = isNewHere ? segment.vetting.check(decision.mac, yiaddr) : undefined;
    if (vetted === undefined) segment.delivery.send(decision);
    else {
      // somebody else has the address: the leases know now, and choose another
      void vetted.then((mayBeOffered) =>
        mayBeOffered
          ? segment.delivery.send(decision)
          : receive({ bytes, from }, segment, context, isTold),
      );
    }
    return decision.type;
  } catch (error) {
    if (error instanceof PacketError) {
      log.debug(
        { err: error, interface: interfaceName, from: from.address },
        "DHCP packet dropped",
      );
      return "malformed";
    }
    if (error instanceof PoolExhaustedError) {
      if (isTold) log.warn({ err: error, interface: interfaceName }, "DHCP has no address left");
      return error.code;
    }
    log.error({ err: error, interface: interfaceName }, "DHCP packet failed");
    return "failed";
  }
}

/** The event of one message and what came of it; none for what is no client's message. And the log's line. */
function tell(
  asked: DhcpPacket,
  decision: Decision,
  { interfaceName, handler }: Segment,
  { events, log }: DhcpContext,
): void {
  const fields = { interface: interfaceName, mac: decision.mac, xid: asked.xid };
  if (decision.kind === "silence") {
    log.debug({ ...fields, reason: decision.reason }, "DHCP silent");
  } else {
    const { yiaddr, file } = decision.packet;
    log.info({ ...fields, address: yiaddr, file }, `DHCP ${decision.type}`);
  }
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

/** Entries for all reserved nodes where we give the addresses. Never throws. */
function writeNeighbours(
  segments: readonly Segment[],
  { leases, neighbours, log }: DhcpContext,
): void {
  const served = segments.flatMap(({ handler }) =>
    handler.subnets.filter((subnet) => givesAddresses(handler.modes?.of(subnet))),
  );
  const entries = leases.reservations().flatMap(({ mac, address }): Neighbour[] => {
    const subnet = served.find((one) => contains(one, address));
    return subnet ? [{ mac, address, interfaceName: subnet.interface }] : [];
  });
  try {
    neighbours.setAll(entries);
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
