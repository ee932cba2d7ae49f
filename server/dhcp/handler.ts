/**
 * What to answer to one DHCP message (RFC 2131 §4.3), decided without a socket.
 *
 * The handler calls the lease room, which writes to disk, and returns a reply
 * with its destination, or the reason for silence. Silence is the rule for
 * whatever is not ours: an unknown client, another server's client, a subnet
 * this interface was not given. A firmware never gets an OFFER without a boot
 * file: it would wait, and try its next boot source minutes later.
 */

import {
  type Ipv4Address,
  type MacAddress,
  type Milliseconds,
  unreachable,
} from "#protocol/brand.ts";
import type { BootClient } from "../boot/client.ts";
import type { Boot, BootReply, BootServer } from "../boot/profile.ts";
import type { Subnet } from "../config.ts";
import type { EventBus } from "../events.ts";
import type { Admission } from "../lease/admission.ts";
import { contains, type Leases } from "../lease/leases.ts";
import {
  classify,
  type Earlier,
  hardwareAddress,
  isBootClient,
  isBoundByOffer,
  isRaspberryPi,
} from "./client.ts";
import { type MessageType, readMessageType, readOption } from "./codec/options.ts";
import type { DhcpPacket } from "./codec/packet.ts";
import { decodeRelayAgentInformation } from "./codec/relay-agent.ts";
import { chooseDestination, type Destination, unspecified } from "./destination.ts";
import { buildNak, buildReply } from "./reply.ts";

export type Decision =
  | {
      readonly kind: "reply";
      readonly type: "offer" | "ack" | "nak";
      readonly packet: DhcpPacket;
      readonly destination: Destination;
      readonly mac: MacAddress;
      /** Held back this long before it is sent: some firmware hangs when it comes at once. */
      readonly delay?: Milliseconds;
    }
  /** Nothing is sent. `reason` is a metrics label: a short, closed list. */
  | { readonly kind: "silence"; readonly reason: Silence; readonly mac?: MacAddress };

export type Silence =
  | "not-a-request"
  | "foreign-subnet"
  | "unknown-client"
  | "no-boot-file"
  | "other-server"
  | "no-address"
  | "noted";

export interface HandlerContext {
  /** The subnets of the interface this message came in on; the first is that of local clients. */
  readonly subnets: readonly [Subnet, ...Subnet[]];
  /** This server's own address there: server identifier and next server. */
  readonly server: BootServer;
  readonly leases: Leases;
  readonly admission: Admission;
  readonly boot: Pick<Boot, "reply">;
  readonly events: EventBus;
  /** Last message of each hardware address; the handler keeps it up to date. */
  readonly recent: Recent;
}

/** Remembers what firmware a hardware address was last seen running. */
export interface Recent {
  get(mac: MacAddress): Earlier | undefined;
  set(mac: MacAddress, earlier: Earlier): void;
}

const maximumRemembered = 4096; // hardware addresses; anyone can invent them, so the oldest go

export function createRecent(): Recent {
  const entries = new Map<MacAddress, Earlier>();
  return {
    get: (mac) => entries.get(mac),
    set(mac, earlier) {
      entries.delete(mac);
      entries.set(mac, earlier);
      const [oldest] = entries.keys();
      if (entries.size > maximumRemembered && oldest) entries.delete(oldest);
    },
  };
}

/** One message with everything read from it once. */
interface Asked {
  readonly packet: DhcpPacket;
  readonly type: MessageType;
  readonly client: BootClient;
  readonly mac: MacAddress;
  readonly subnet: Subnet;
}

/**
 * @throws PacketError if an option that matters has a wrong length.
 * @throws PoolExhaustedError when the client may have an address and none is free.
 */
export function handlePacket(packet: DhcpPacket, context: HandlerContext): Decision {
  const type = readMessageType(packet.options);
  if (packet.operation !== "request" || type === undefined) return silence("not-a-request");
  const mac = hardwareAddress(packet);
  const subnet = chooseSubnet(packet, context.subnets);
  if (!subnet) return silence("foreign-subnet", mac);
  const client = classify(packet, context.recent.get(mac));
  if (client.firmware) context.recent.set(mac, { xid: packet.xid, client });
  const asked: Asked = { packet, type, client, mac, subnet };
  switch (type) {
    case "discover":
      return discover(asked, context);
    case "request":
      return request(asked, context);
    case "release":
      context.leases.release(mac, packet.ciaddr);
      return silence("noted", mac);
    case "decline":
      return decline(asked, context);
    case "inform":
      return inform(asked, context);
    case "offer":
    case "ack":
    case "nak":
      return silence("not-a-request", mac);
    default:
      return unreachable(type);
  }
}

/** Local clients: the interface's subnet. Relayed ones: that of the relay (RFC 3527 first). */
function chooseSubnet(packet: DhcpPacket, subnets: HandlerContext["subnets"]): Subnet | undefined {
  if (packet.giaddr === unspecified) return subnets[0];
  const raw = readOption(packet.options, "relayAgentInformation");
  const selected = raw && decodeRelayAgentInformation(raw).linkSelection;
  const link = selected ? ([...selected].join(".") as Ipv4Address) : packet.giaddr;
  return subnets.find((subnet) => contains(subnet, link) || subnet.network === link);
}

function discover(asked: Asked, context: HandlerContext): Decision {
  const { client, mac, subnet, packet } = asked;
  context.events.publish({
    topic: "heard",
    mac,
    ...(client.firmware && { firmware: client.firmware }),
    ...(client.serial && { serial: client.serial }),
    ...(client.uuid && { uuid: client.uuid }),
  });
  const reservation = context.leases.reservationOf(mac) ?? context.admission.heard(client, subnet);
  if (!reservation && !subnet.pool) return silence("unknown-client", mac);
  const boot = bootReply(client, context);
  if (boot === "none") return silence("no-boot-file", mac);

  const wish = readOption(packet.options, "requestedAddress");
  const offered = context.leases.offer(mac, subnet, wish);
  if (!offered) return silence("no-address", mac);
  if (isBoundByOffer(client)) context.leases.bind(mac, subnet, offered.address);
  return reply("offer", asked, offered.address, boot, context);
}

function request(asked: Asked, context: HandlerContext): Decision {
  const { client, mac, subnet, packet } = asked;
  const chosenServer = readOption(packet.options, "serverIdentifier");
  if (chosenServer !== undefined && chosenServer !== context.server.address) {
    if (!isBoundByOffer(client)) context.leases.withdraw(mac);
    return silence("other-server", mac);
  }
  const wanted = readOption(packet.options, "requestedAddress") ?? packet.ciaddr;
  const own = context.leases.addressOf(mac);
  // a client we never knew may belong to another server (RFC 2131 §4.3.2): only
  // one that named us is told no
  if (own === undefined && chosenServer === undefined) return silence("unknown-client", mac);
  if (wanted === unspecified) return silence("no-address", mac);
  const boot = bootReply(client, context);
  if (boot === "none") return silence("no-boot-file", mac);
  const bound = context.leases.bind(mac, subnet, wanted);
  if (!bound) return refuse(asked, context, `${wanted} is not yours`);
  return reply("ack", asked, bound.address, boot, context);
}

function decline(asked: Asked, context: HandlerContext): Decision {
  const { mac, packet } = asked;
  const chosenServer = readOption(packet.options, "serverIdentifier");
  if (chosenServer !== undefined && chosenServer !== context.server.address) {
    return silence("other-server", mac);
  }
  const address = readOption(packet.options, "requestedAddress");
  if (address && context.leases.decline(mac, address)) {
    context.events.publish({
      topic: "alarm",
      text: `${mac} found ${address} in use by another device`,
    });
  }
  return silence("noted", mac);
}

/** The client has its address from elsewhere and asks for the rest (RFC 2131 §4.3.5). */
function inform(asked: Asked, context: HandlerContext): Decision {
  const { client, mac, subnet, packet } = asked;
  if (packet.ciaddr === unspecified || !contains(subnet, packet.ciaddr)) {
    return silence("no-address", mac);
  }
  if (context.leases.addressOf(mac) === undefined) return silence("unknown-client", mac);
  const boot = bootReply(client, context);
  return reply("ack", asked, undefined, boot === "none" ? undefined : boot, context);
}

/** `none`: it wants to boot and there is nothing for it; undefined: it does not want to. */
function bootReply(client: BootClient, context: HandlerContext): BootReply | undefined | "none" {
  if (!isBootClient(client)) return undefined;
  const answer = context.boot.reply(client, context.server);
  if (!answer) return "none";
  // a Raspberry Pi asks by fixed names; no boot file is needed in the reply
  return answer.bootFile === undefined && !isRaspberryPi(client) ? "none" : answer;
}

function reply(
  type: "offer" | "ack",
  { packet, client, mac, subnet }: Asked,
  address: Ipv4Address | undefined,
  boot: BootReply | undefined,
  context: HandlerContext,
): Decision {
  const hostname = context.leases.reservationOf(mac)?.hostname;
  const yiaddr = address ?? unspecified;
  return {
    kind: "reply",
    type,
    mac,
    packet: buildReply(type, packet, {
      yiaddr,
      server: context.server.address,
      subnet,
      client,
      ...(hostname && { hostname }),
      ...(boot && { boot }),
    }),
    destination: chooseDestination(
      packet,
      { yiaddr, isNak: false },
      { mac, neverBroadcast: isBoundByOffer(client) },
    ),
  };
}

function refuse({ packet, mac }: Asked, context: HandlerContext, reason: string): Decision {
  return {
    kind: "reply",
    type: "nak",
    mac,
    packet: buildNak(packet, context.server.address, reason),
    destination: chooseDestination(
      packet,
      { yiaddr: unspecified, isNak: true },
      { mac, neverBroadcast: false },
    ),
  };
}

function silence(reason: Silence, mac?: MacAddress): Decision {
  return { kind: "silence", reason, ...(mac && { mac }) };
}
