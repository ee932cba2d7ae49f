/** Builds OFFER, ACK and NAK from a request (RFC 2131 §4.3.1, table 3). Pure. */

import type { Ipv4Address } from "#protocol/brand.ts";
import type { BootClient } from "../boot/client.ts";
import type { BootReply } from "../boot/profile.ts";
import type { Subnet } from "../config.ts";
import { messageTypes, option, optionCode, readOption } from "./codec/options.ts";
import { broadcastFlag, type DhcpPacket, encodePacket, type Options } from "./codec/packet.ts";
import { unspecified } from "./destination.ts";

type Entry = readonly [code: number, value: Uint8Array];

export interface ReplyParts {
  /** 0.0.0.0 in the answer to an INFORM: then no lease times are sent either. */
  readonly yiaddr: Ipv4Address;
  readonly server: Ipv4Address;
  readonly subnet: Subnet;
  readonly client: BootClient;
  readonly hostname?: string;
  readonly boot?: BootReply;
}

const minimumMaximum = 548; // 576 - 20 (IPv4) - 8 (UDP): what every client takes (RFC 2131 §2)
const largestDatagram = 1472; // 1500 (Ethernet) - 20 - 8; EDK2 claims 65280
/** Left out in this order when the client takes no larger message. */
const dispensable = [
  "rebindingTime",
  "renewalTime",
  "broadcastAddress",
  "hostName",
  "tftpServerName",
  "clientIdentifier",
] as const;

export function buildReply(
  type: "offer" | "ack",
  request: DhcpPacket,
  parts: ReplyParts,
): DhcpPacket {
  const { boot } = parts;
  const options = new Map<number, Uint8Array>([
    option("messageType", messageTypes[type]),
    option("serverIdentifier", parts.server),
    ...leaseOptions(parts),
    ...networkOptions(parts),
    ...(boot ? bootOptions(boot, parts.client, request) : []),
    ...echoed(request),
  ]);
  const bootFile = boot?.bootFile ?? "";
  const packet: DhcpPacket = {
    ...replyHeader(request),
    // the ACK of a renewal repeats ciaddr; an OFFER never has one
    ciaddr: type === "ack" ? request.ciaddr : unspecified,
    yiaddr: parts.yiaddr,
    siaddr: boot?.nextServer ?? unspecified,
    sname: fitting(boot?.serverName ?? "", 63),
    file: fitting(bootFile, 127),
    options,
  };
  return shrink(packet, clientMaximum(request));
}

/** @param reason - shown by some clients; plain ASCII */
export function buildNak(request: DhcpPacket, server: Ipv4Address, reason: string): DhcpPacket {
  return {
    ...replyHeader(request),
    // a relay must broadcast it: the client's address is wrong (RFC 2131 §4.3.2)
    flags: request.giaddr === unspecified ? request.flags : request.flags | broadcastFlag,
    options: new Map([
      option("messageType", messageTypes.nak),
      option("serverIdentifier", server),
      option("message", reason),
      ...echoed(request),
    ]),
  };
}

function replyHeader(request: DhcpPacket): DhcpPacket {
  return {
    operation: "reply",
    hardwareType: request.hardwareType,
    hardwareLength: request.hardwareLength,
    hops: 0,
    xid: request.xid,
    secs: 0,
    flags: request.flags,
    ciaddr: unspecified,
    yiaddr: unspecified,
    siaddr: unspecified,
    giaddr: request.giaddr,
    chaddr: request.chaddr,
    sname: "",
    file: "",
    options: new Map(),
  };
}

/** T1 is a half, T2 seven eighths of the lease (RFC 2131 §4.4.5). */
function leaseOptions({ yiaddr, subnet }: ReplyParts): readonly Entry[] {
  if (yiaddr === unspecified) return [];
  const { leaseSeconds } = subnet;
  return [
    option("leaseTime", leaseSeconds),
    option("renewalTime", Math.floor(leaseSeconds / 2)),
    option("rebindingTime", Math.floor((leaseSeconds * 7) / 8)),
  ];
}

function networkOptions({ subnet, hostname }: ReplyParts): readonly Entry[] {
  return [
    option("subnetMask", subnet.netmask),
    option("broadcastAddress", subnet.broadcast),
    ...(subnet.router ? [option("router", [subnet.router])] : []),
    ...(subnet.dns.length > 0 ? [option("domainNameServer", subnet.dns)] : []),
    ...(hostname ? [option("hostName", hostname)] : []),
  ];
}

/** The options the firmware's profile names come last, so that they win. */
function bootOptions(boot: BootReply, client: BootClient, request: DhcpPacket): readonly Entry[] {
  const machine = readOption(request.options, "clientMachine");
  const isHttp = client.vendorClass?.startsWith("HTTPClient") ?? false;
  return [
    ...(boot.vendorClass ? [option("vendorClass", boot.vendorClass)] : []),
    ...(isHttp ? [] : [option("tftpServerName", boot.serverName ?? boot.nextServer)]),
    ...(boot.bootFile ? [option("bootFileName", boot.bootFile)] : []),
    ...(machine ? [option("clientMachine", machine)] : []), // RFC 4578 §2.3
    ...boot.options,
  ];
}

/** Client identifier (RFC 6842) and, as the last, the relay's option (RFC 3046 §2.2), octet by octet. */
function echoed(request: DhcpPacket): readonly Entry[] {
  return (["clientIdentifier", "relayAgentInformation"] as const).flatMap((name) => {
    const value = readOption(request.options, name);
    return value ? [option(name, value)] : [];
  });
}

function clientMaximum(request: DhcpPacket): number {
  const said = request.options.get(optionCode("maximumMessageSize"));
  if (said?.length !== 2) return minimumMaximum;
  const octets = ((said[0] ?? 0) << 8) | (said[1] ?? 0);
  return Math.min(Math.max(octets - 28, minimumMaximum), largestDatagram); // 28: IPv4 and UDP headers
}

/** Leaves out what a client can do without until the message fits. */
function shrink(packet: DhcpPacket, maximum: number): DhcpPacket {
  let result = packet;
  for (const name of dispensable) {
    if (encodePacket(result).length <= maximum) return result;
    result = { ...result, options: without(result.options, optionCode(name)) };
  }
  return result;
}

function without(options: Options, code: number): Options {
  return new Map([...options].filter(([other]) => other !== code));
}

/** The field's text, or nothing where it would be cut: the option has it whole. */
function fitting(text: string, maximum: number): string {
  return text.length <= maximum ? text : "";
}
