/**
 * One message with everything read from it once: who asks, for which subnet, by
 * which relay agent, and which server it speaks to.
 */

import type { Ipv4Address, MacAddress } from "#protocol/brand.ts";
import type { BootClient } from "../boot/client.ts";
import type { BootReply } from "../boot/profile.ts";
import type { ClientClass, Subnet } from "../config.ts";
import { contains } from "../lease/leases.ts";
import { classOf } from "./classes.ts";
import { classify, findsItsFilesItself, isBootClient } from "./client.ts";
import { type MessageType, readOption } from "./codec/options.ts";
import type { DhcpPacket } from "./codec/packet.ts";
import { decodeRelayAgentInformation, type RelayAgentInformation } from "./codec/relay-agent.ts";
import type { HandlerContext, Silence } from "./decision.ts";
import { unspecified } from "./destination.ts";
import { modesAsSet, type ServingMode } from "./mode.ts";

export interface Asked {
  readonly packet: DhcpPacket;
  readonly type: MessageType;
  readonly client: BootClient;
  readonly mac: MacAddress;
  readonly subnet: Subnet;
  readonly mode: ServingMode;
  readonly clientClass?: ClientClass;
  /** Option 54 as this client is told it: the relay agent's wish (RFC 5107), else our address. */
  readonly identifier: Ipv4Address;
  /** Option 54 as it came: the server the client speaks to. */
  readonly chosen?: Ipv4Address;
}

/** Reads the message once; the reason when it is none of ours. */
export function readMessage(
  packet: DhcpPacket,
  type: MessageType,
  mac: MacAddress,
  context: HandlerContext,
): Asked | Silence {
  const raw = readOption(packet.options, "relayAgentInformation");
  const relay = raw && decodeRelayAgentInformation(raw);
  const subnet = chooseSubnet(packet, relay, context.subnets);
  if (typeof subnet === "string") return subnet;
  const known = classify(packet, context.recent.get(mac), context.raspberryPiPrefixes);
  const client = relay?.circuitId
    ? { ...known, circuit: circuitOf(relay.circuitId, relay) }
    : known;
  if (client.firmware) {
    const isReserved = context.leases.reservationOf(mac) !== undefined;
    context.recent.set(mac, { xid: packet.xid, client }, isReserved);
  }
  const clientClass = classOf(client, subnet.classes);
  const chosen = readOption(packet.options, "serverIdentifier");
  const override = packet.giaddr !== unspecified ? relay?.serverIdentifier : undefined;
  return {
    packet,
    type,
    client,
    mac,
    subnet,
    mode: (context.modes ?? modesAsSet).of(subnet),
    ...(clientClass && { clientClass }),
    identifier: override ? addressOf(override) : context.server.address,
    ...(chosen !== undefined && { chosen }),
  };
}

function circuitOf(
  id: Uint8Array,
  { remoteId }: RelayAgentInformation,
): NonNullable<BootClient["circuit"]> {
  return { id: id.toHex(), ...(remoteId && { remote: remoteId.toHex() }) };
}

/**
 * Local clients: the interface's subnet. A client that has an address: the subnet
 * of that, since it renews past its relay agent. Relayed ones: the subnet the relay agent
 * selects (RFC 3527), else that of its own address; and only one that the subnet
 * names: anybody can write a `giaddr`.
 */
function chooseSubnet(
  packet: DhcpPacket,
  relay: RelayAgentInformation | undefined,
  subnets: HandlerContext["subnets"],
): Subnet | Silence {
  const { giaddr, ciaddr } = packet;
  if (giaddr === unspecified) {
    return subnets.find((one) => ciaddr !== unspecified && contains(one, ciaddr)) ?? subnets[0];
  }
  const link = relay?.linkSelection ? addressOf(relay.linkSelection) : giaddr;
  const subnet = subnets.find((one) => contains(one, link) || one.network === link);
  if (!subnet) return "foreign-subnet";
  return subnet.relays.includes(giaddr) ? subnet : "unknown-relay";
}

/** The client speaks to another server. */
export function isElsewhere({ chosen, identifier }: Asked, context: HandlerContext): boolean {
  return chosen !== undefined && chosen !== identifier && chosen !== context.server.address;
}

/** `none`: it wants to boot and there is nothing for it; undefined: it does not want to. */
export function bootReply(
  { client, clientClass }: Asked,
  { boot, server }: Pick<HandlerContext, "boot" | "server">,
): BootReply | undefined | "none" {
  if (!isBootClient(client)) return undefined;
  if (clientClass?.boot === false) return "none";
  const found = boot.reply(client, server);
  if (!found) return "none";
  return found.bootFile === undefined && !findsItsFilesItself(client) ? "none" : found;
}

export function publishHeard(client: BootClient, { events }: HandlerContext): void {
  events.publish({
    topic: "heard",
    mac: client.mac,
    ...(client.firmware && { firmware: client.firmware }),
    ...(client.serial && { serial: client.serial }),
    ...(client.uuid && { uuid: client.uuid }),
  });
}

function addressOf(octets: Uint8Array): Ipv4Address {
  return octets.join(".") as Ipv4Address; // the codec has checked that there are four
}
