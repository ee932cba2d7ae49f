/**
 * What to answer to one DHCP message (RFC 2131 §4.3), decided without a socket.
 *
 * The handler calls the lease room, which stages what is to be written, and
 * returns a reply with its destination, or the reason for silence. Silence is the
 * rule for whatever is not ours: an unknown client, another server's client, a
 * subnet this interface was not given, a relay agent nobody named. A firmware
 * never gets an OFFER without a boot file: it would wait, and try its next boot
 * source minutes later.
 *
 *   client's state   54 server  50 address  ciaddr   known                 unknown
 *   selecting        ours       set         0        ACK, NAK if not its   NAK
 *   selecting        another's  set         0        silence, offer goes   silence
 *   init-reboot      -          set         0        ACK, NAK if not its   silence (*)
 *   renewing         -          -           set      ACK, NAK if not its   silence (*)
 *   rebinding        -          -           set      ACK, NAK if not its   silence (*)
 *
 *   (*) NAK where the address is of another network and we alone give addresses here
 */

import { type Ipv4Address, unreachable } from "#protocol/brand.ts";
import type { BootReply } from "../boot/profile.ts";
import { contains } from "../lease/leases.ts";
import type { Reservation } from "../store/store.ts";
import { type Asked, bootReply, isElsewhere, publishHeard, readMessage } from "./asked.ts";
import { hardwareAddress, isBootClient, isBoundByOffer, takesRepliesToOthers } from "./client.ts";
import { type MessageType, readMessageType, readOption } from "./codec/options.ts";
import type { DhcpPacket } from "./codec/packet.ts";
import { type Decision, type HandlerContext, mannerOf, silence } from "./decision.ts";
import { chooseDestination, unspecified } from "./destination.ts";
import { answerAsProxy } from "./proxy.ts";
import { buildNak, buildReply } from "./reply.ts";

/**
 * @throws PacketError if an option that matters has a wrong length.
 * @throws PoolExhaustedError when the client may have an address and none is free.
 */
export function handlePacket(packet: DhcpPacket, context: HandlerContext): Decision {
  const type = readMessageType(packet.options);
  if (packet.operation !== "request" || type === undefined) return silence("not-a-request");
  if (type === "offer" || type === "ack" || type === "nak") return silence("not-a-request");
  const mac = hardwareAddress(packet);
  if (context.others?.isProbe(mac)) return silence("own-probe"); // no client: without its address no event tells of it
  const asked = readMessage(packet, type, mac, context);
  if (typeof asked === "string") return silence(asked, mac);
  tellOfOther(asked, context);
  switch (asked.mode) {
    case "off":
    case "listening":
      return silence(asked.mode, mac);
    case "proxy":
      return answerAsProxy(asked, context);
    case "reservation":
    case "dynamic":
      return answer(type, asked, context);
    default:
      return unreachable(asked.mode);
  }
}

/** A REQUEST is broadcast, and so tells of a server whose OFFER went to the client alone. */
function tellOfOther(asked: Asked, context: HandlerContext): void {
  const { type, packet, chosen } = asked;
  if (type !== "request" || packet.giaddr !== unspecified || chosen === undefined) return;
  if (isElsewhere(asked, context)) context.others?.chosen(chosen);
}

function answer(
  type: Exclude<MessageType, "offer" | "ack" | "nak">,
  asked: Asked,
  context: HandlerContext,
): Decision {
  switch (type) {
    case "discover":
      return discover(asked, context);
    case "request":
      return request(asked, context);
    case "release":
      return release(asked, context);
    case "decline":
      return decline(asked, context);
    case "inform":
      return inform(asked, context);
    default:
      return unreachable(type);
  }
}

function discover(asked: Asked, context: HandlerContext): Decision {
  const { client, mac, subnet, packet } = asked;
  publishHeard(client, context);
  const admitted = context.admission.heard(client, subnet);
  const reservation = context.leases.reservationOf(mac) ?? admitted;
  if (reservation === "wait") return silence("being-learned", mac);
  if (!mayHaveAddress(asked, reservation)) return silence("unknown-client", mac);
  const boot = bootReply(asked, context);
  if (boot === "none") return silence("no-boot-file", mac);

  const wish = readOption(packet.options, "requestedAddress");
  const offered = context.leases.offer(mac, subnet, wish, clientIdentity(asked));
  if (!offered) return silence("no-address", mac);
  if (isBoundByOffer(client)) context.leases.bind(mac, subnet, offered.address);
  return reply("offer", asked, offered.address, boot, context);
}

const longestIdentity = 255; // octets; a longer one is nobody's, and would be kept on disk

/**
 * Option 61 of a client that keeps its lease by it (RFC 4361). Firmware, iPXE and the
 * OS of one node send different ones, so what boots goes by its hardware address.
 */
function clientIdentity({ client, packet }: Asked): string | undefined {
  const value = readOption(packet.options, "clientIdentifier");
  if (!value || value.length === 0 || value.length > longestIdentity) return undefined;
  return isBootClient(client) ? undefined : value.toHex();
}

function mayHaveAddress(
  { mode, clientClass }: Asked,
  reservation: Reservation | undefined,
): boolean {
  return reservation !== undefined || (mode === "dynamic" && clientClass?.pool !== false);
}

/** What a REQUEST is about (RFC 2131 §4.3.2, table 4); renewing and rebinding differ in nothing we see. */
type RequestState = "selecting" | "init-reboot" | "renewing";

function requestState({ chosen, packet }: Asked): RequestState {
  if (chosen !== undefined) return "selecting";
  return packet.ciaddr === unspecified ? "init-reboot" : "renewing";
}

function request(asked: Asked, context: HandlerContext): Decision {
  const { client, mac, subnet, packet } = asked;
  if (isElsewhere(asked, context)) {
    if (!isBoundByOffer(client)) context.leases.withdraw(mac);
    return silence("other-server", mac);
  }
  const requested = readOption(packet.options, "requestedAddress");
  const state = requestState(asked);
  const wanted = state === "renewing" ? packet.ciaddr : (requested ?? packet.ciaddr);
  // a client we never knew may belong to another server: only one that named us is told no
  if (state !== "selecting" && context.leases.addressOf(mac) === undefined) {
    return isLost(asked, wanted, context)
      ? refuse(asked, `${wanted} is of another network`)
      : silence("unknown-client", mac);
  }
  if (wanted === unspecified) return silence("no-address", mac);
  const boot = bootReply(asked, context);
  if (boot === "none") return silence("no-boot-file", mac);
  const bound = context.leases.bind(mac, subnet, wanted);
  if (!bound) return refuse(asked, `${wanted} is not yours`);
  return reply("ack", asked, bound.address, boot, context);
}

/**
 * Its address is of a network that is not here, and there is no other server whose
 * client it could be: a NAK makes it ask for a good one at once. Elsewhere we stay
 * silent, as servers on one wire must that do not know each other (RFC 2131 §4.3.2).
 */
function isLost(
  { mode, clientClass }: Asked,
  wanted: Ipv4Address,
  { subnets, others }: HandlerContext,
): boolean {
  if (mode !== "dynamic" || clientClass?.pool === false || others?.areHeard()) return false;
  return wanted !== unspecified && !subnets.some((subnet) => contains(subnet, wanted));
}

function release(asked: Asked, context: HandlerContext): Decision {
  const { mac, packet } = asked;
  if (isElsewhere(asked, context)) return silence("other-server", mac);
  context.leases.release(mac, packet.ciaddr);
  return silence("noted", mac);
}

function decline(asked: Asked, context: HandlerContext): Decision {
  const { mac, packet } = asked;
  if (isElsewhere(asked, context)) return silence("other-server", mac);
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
  const { mac, subnet, packet } = asked;
  if (packet.ciaddr === unspecified || !contains(subnet, packet.ciaddr)) {
    return silence("no-address", mac);
  }
  const known = context.leases.addressOf(mac) !== undefined;
  if (!known && !mayHaveAddress(asked, undefined)) return silence("unknown-client", mac);
  const boot = bootReply(asked, context);
  return reply("ack", asked, undefined, boot === "none" ? undefined : boot, context);
}

function reply(
  type: "offer" | "ack",
  { packet, client, mac, subnet, clientClass, identifier }: Asked,
  address: Ipv4Address | undefined,
  boot: BootReply | undefined,
  context: HandlerContext,
): Decision {
  const hostname = context.leases.reservationOf(mac)?.hostname;
  const yiaddr = address ?? unspecified;
  context.sightings?.given(yiaddr);
  return {
    kind: "reply",
    type,
    mac,
    packet: buildReply(type, packet, {
      yiaddr,
      server: identifier,
      subnet,
      client,
      ...(hostname && { hostname }),
      ...(boot && { boot }),
      ...(clientClass && { clientClass }),
    }),
    destination: chooseDestination(
      packet,
      { yiaddr, isNak: false },
      { mac, neverBroadcast: takesRepliesToOthers(client) },
    ),
    ...(boot && mannerOf(boot)),
  };
}

function refuse({ packet, mac, identifier }: Asked, reason: string): Decision {
  return {
    kind: "reply",
    type: "nak",
    mac,
    packet: buildNak(packet, identifier, reason),
    destination: chooseDestination(
      packet,
      { yiaddr: unspecified, isNak: true },
      { mac, neverBroadcast: false },
    ),
  };
}
