/**
 * Builds OFFER, ACK and NAK from a request (RFC 2131 §4.3.1, table 3), and the
 * answers of a ProxyDHCP server (PXE 2.1 §2.4), which carry no address. Pure.
 */

import type { Ipv4Address } from "#protocol/brand.ts";
import type { BootClient } from "../boot/client.ts";
import type { BootReply } from "../boot/profile.ts";
import type { ClientClass, Subnet } from "../config.ts";
import { messageTypes, type OptionName, option, optionCode, readOption } from "./codec/options.ts";
import { broadcastFlag, type DhcpPacket, isWithinMaximum, type Options } from "./codec/packet.ts";
import type { Route } from "./codec/routes.ts";
import { unspecified } from "./destination.ts";

type Entry = readonly [code: number, value: Uint8Array];

/** What is said whether or not we give the address. */
export interface BootParts {
  /** Option 54. */
  readonly server: Ipv4Address;
  readonly client: BootClient;
  readonly boot?: BootReply;
  /** Its options replace ours. */
  readonly clientClass?: ClientClass;
}

export interface ReplyParts extends BootParts {
  /** 0.0.0.0 in the answer to an INFORM: then no lease times are sent either. */
  readonly yiaddr: Ipv4Address;
  readonly subnet: Subnet;
  readonly hostname?: string;
}

const minimumMaximum = 548; // 576 - 20 (IPv4) - 8 (UDP): what every client takes (RFC 2131 §2)
const largestDatagram = 1472; // 1500 (Ethernet) - 20 - 8; EDK2 claims 65280
/** Left out in this order when the client takes no larger message; first those it did not ask for. */
const dispensable: readonly OptionName[] = [
  "rebindingTime",
  "renewalTime",
  "broadcastAddress",
  "domainSearch",
  "ntpServers",
  "domainName",
  "hostName",
  "tftpServerName",
  "clientIdentifier",
];
/** These come first whatever the client's order is: some ROMs read no further than they must. */
const leading = (["messageType", "serverIdentifier", "leaseTime"] as const).map(optionCode);
const trailing = (["bootFileName", "relayAgentInformation"] as const).map(optionCode);

export function buildReply(
  type: "offer" | "ack",
  request: DhcpPacket,
  parts: ReplyParts,
): DhcpPacket {
  const { boot, clientClass, hostname } = parts;
  const asked = requestedCodes(request);
  const hasAddress = parts.yiaddr !== unspecified;
  const options = new Map<number, Uint8Array>([
    option("messageType", messageTypes[type]),
    option("serverIdentifier", parts.server),
  ]);
  for (const { entry, sent } of subnetOptions(parts.subnet)) {
    const [code, value] = entry;
    if (sent === "with an address" && !hasAddress) continue;
    if (sent === "when asked for" && asked?.includes(code) === false) continue;
    options.set(code, value);
  }
  if (hostname) add(options, [option("hostName", hostname)]);
  if (boot) add(options, bootOptions(boot, parts.client, request));
  if (clientClass) add(options, clientClass.options);
  echo(request, options);
  const packet = replyTo(request, {
    ciaddr: ciaddrOf(type, request),
    yiaddr: parts.yiaddr,
    boot,
    options: inOrder(options, asked),
  });
  return shrink(packet, asked);
}

/**
 * The boot part alone: another server gives the address, and neither a lease
 * time nor a mask of ours may disturb that.
 */
export function buildProxyReply(
  type: "offer" | "ack",
  request: DhcpPacket,
  parts: BootParts & { readonly boot: BootReply },
): DhcpPacket {
  const { boot, client, clientClass } = parts;
  const asked = requestedCodes(request);
  const options = new Map<number, Uint8Array>([
    option("messageType", messageTypes[type]),
    option("serverIdentifier", parts.server),
    // without it a client does not see that this is a proxy's answer (PXE 2.1 §2.4.3)
    option("vendorClass", "PXEClient"),
    ...bootOptions(boot, client, request),
    ...(clientClass?.options ?? []),
  ]);
  echo(request, options);
  const packet = replyTo(request, {
    ciaddr: ciaddrOf(type, request),
    boot,
    options: inOrder(options, asked),
  });
  return shrink(packet, asked);
}

/** @param reason - shown by some clients; plain ASCII */
export function buildNak(request: DhcpPacket, server: Ipv4Address, reason: string): DhcpPacket {
  const options = new Map([
    option("messageType", messageTypes.nak),
    option("serverIdentifier", server),
    option("message", reason),
  ]);
  echo(request, options);
  return replyTo(request, {
    // a relay must broadcast it: the client's address is wrong (RFC 2131 §4.3.2)
    flags: request.giaddr === unspecified ? request.flags : request.flags | broadcastFlag,
    options,
  });
}

/** What is not in every reply. */
interface Own {
  readonly flags?: number;
  readonly ciaddr?: Ipv4Address;
  readonly yiaddr?: Ipv4Address;
  readonly boot?: BootReply | undefined;
  readonly options: Options;
}

function replyTo(request: DhcpPacket, own: Own): DhcpPacket {
  const { boot } = own;
  return {
    operation: "reply",
    hardwareType: request.hardwareType,
    hardwareLength: request.hardwareLength,
    hops: 0,
    xid: request.xid,
    secs: 0,
    flags: own.flags ?? request.flags,
    ciaddr: own.ciaddr ?? unspecified,
    yiaddr: own.yiaddr ?? unspecified,
    siaddr: boot?.nextServer ?? unspecified,
    giaddr: request.giaddr,
    chaddr: request.chaddr,
    sname: fitting(boot?.serverName ?? "", 63),
    file: fitting(boot?.bootFile ?? "", 127),
    options: own.options,
    maximumSize: clientMaximum(request),
  };
}

/** The ACK of a renewal repeats it; an OFFER never has one. */
function ciaddrOf(type: "offer" | "ack", request: DhcpPacket): Ipv4Address {
  return type === "ack" ? request.ciaddr : unspecified;
}

function add(options: Map<number, Uint8Array>, entries: readonly Entry[]): void {
  for (const [code, value] of entries) options.set(code, value);
}

/** What a subnet's clients are told: encoded once. */
interface SubnetOption {
  readonly entry: Entry;
  /** What makes the message long is sent only when option 55 names it, or there is none. */
  readonly sent: "always" | "with an address" | "when asked for";
}

const encoded = new WeakMap<Subnet, readonly SubnetOption[]>();

function subnetOptions(subnet: Subnet): readonly SubnetOption[] {
  const known = encoded.get(subnet);
  if (known) return known;
  const { routes, router, dns, domainName, domainSearch, ntp } = subnet;
  const all = (sent: SubnetOption["sent"], ...entries: readonly (Entry | false)[]) =>
    entries.flatMap((entry) => (entry ? [{ entry, sent }] : []));
  const made = [
    ...all("with an address", ...leaseOptions(subnet)),
    ...all(
      "always",
      option("subnetMask", subnet.netmask),
      option("broadcastAddress", subnet.broadcast),
      router !== undefined && option("router", [router]),
      dns.length > 0 && option("domainNameServer", dns),
    ),
    ...all(
      "when asked for",
      routes.length > 0 && option("classlessRoutes", withDefaultRoute(subnet)),
      domainName !== undefined && option("domainName", domainName),
      domainSearch.length > 0 && option("domainSearch", domainSearch),
      ntp.length > 0 && option("ntpServers", ntp),
    ),
  ];
  encoded.set(subnet, made);
  return made;
}

/** T1 is a half, T2 seven eighths of the lease (RFC 2131 §4.4.5). */
function leaseOptions({ leaseSeconds }: Subnet): readonly Entry[] {
  return [
    option("leaseTime", leaseSeconds),
    option("renewalTime", Math.floor(leaseSeconds / 2)),
    option("rebindingTime", Math.floor((leaseSeconds * 7) / 8)),
  ];
}

/** A client that takes option 121 ignores option 3 (RFC 3442): the router must be in both. */
function withDefaultRoute({ routes, router }: Subnet): readonly Route[] {
  if (!router || routes.some(({ prefix }) => prefix === 0)) return routes;
  return [...routes, { network: unspecified, prefix: 0, via: router }];
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
function echo({ options }: DhcpPacket, into: Map<number, Uint8Array>): void {
  for (const code of echoedCodes) {
    const value = options.get(code);
    if (value) into.set(code, value);
  }
}

const echoedCodes = (["clientIdentifier", "relayAgentInformation"] as const).map(optionCode);

/** Option 55, in the client's order of preference (RFC 2132 §9.8); undefined when it sent none. */
type AskedCodes = Uint8Array | undefined;

function requestedCodes(request: DhcpPacket): AskedCodes {
  return readOption(request.options, "parameterRequestList");
}

/**
 * Ours first, then the client's wishes in its order, the others, and what must stand
 * at the end: EDK2 writes a NUL behind the boot file's name, where the next option
 * begins, and a relay agent takes its own off the end (RFC 3046 §2.1).
 */
function inOrder(options: Options, asked: AskedCodes): Options {
  const ordered = new Map<number, Uint8Array>();
  for (const code of leading) take(code, options, ordered);
  if (asked) for (const code of asked) take(code, options, ordered);
  for (const [code, value] of options) if (!trailing.includes(code)) ordered.set(code, value);
  for (const code of trailing) {
    const value = options.get(code);
    if (value) ordered.set(code, value);
  }
  return ordered;
}

/** One that has its place keeps it. */
function take(code: number, options: Options, into: Map<number, Uint8Array>): void {
  const value = options.get(code);
  if (value && !trailing.includes(code)) into.set(code, value);
}

function clientMaximum(request: DhcpPacket): number {
  const said = request.options.get(optionCode("maximumMessageSize"));
  if (said?.length !== 2) return minimumMaximum;
  const octets = ((said[0] ?? 0) << 8) | (said[1] ?? 0);
  return Math.min(Math.max(octets - 28, minimumMaximum), largestDatagram); // 28: IPv4 and UDP headers
}

/** Leaves out what a client can do without until the message fits. */
function shrink(packet: DhcpPacket, asked: AskedCodes): DhcpPacket {
  if (isWithinMaximum(packet)) return packet;
  const codes = dispensable.map(optionCode);
  let result = packet;
  for (const code of [...codes.filter((one) => !asked?.includes(one)), ...codes]) {
    if (!result.options.has(code)) continue;
    result = { ...result, options: without(result.options, code) };
    if (isWithinMaximum(result)) return result;
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
