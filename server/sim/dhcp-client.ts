/** DHCP as boot firmware speaks it: what every exchange of this room is put together from. */

import { ipv4FromNumber, ipv4ToNumber } from "#protocol/brand.ts";
import {
  type MessageType,
  messageTypes,
  option,
  readMessageType,
  readOption,
} from "../dhcp/codec/options.ts";
import { type DhcpPacket, decodePacket, encodePacket } from "../dhcp/codec/packet.ts";
import { PacketError } from "../errors.ts";
import { type EthernetAddress, limitedBroadcast } from "./frame.ts";
import type { Arrival, FileServer } from "./program.ts";
import type { Station } from "./station.ts";

const serverPort = 67;
const clientPort = 68;
/** Where a proxy is asked for its boot file (PXE 2.1 §2.2.4). */
const proxyPort = 4011;

export type OptionList = readonly (readonly [code: number, value: Uint8Array])[];

export interface Message {
  readonly type: MessageType;
  readonly xid: number;
  readonly secs: number;
  readonly flags: number;
  /** After option 53, in this order. */
  readonly options: OptionList;
}

/** An OFFER or ACK for this board. */
export interface Reply extends FileServer {
  readonly type: MessageType;
  readonly packet: DhcpPacket;
  /** `yiaddr`; 0: a proxy's. */
  readonly offered: number;
  /** Option 54, else the sender. */
  readonly serverIdentifier: number;
  /** Option 67, else `file`; "" when there is none. */
  readonly bootFile: string;
  /** `siaddr`, else option 66 where it is an address, else the sender. */
  readonly nextServer: number;
  /** Address of another board in `chaddr`. */
  readonly isForAnother: boolean;
}

const unspecified = ipv4FromNumber(0);

/** Broadcasts a message, or sends it to a proxy's port 4011. */
export function sendMessage(station: Station, message: Message, proxy?: FileServer): void {
  const chaddr = new Uint8Array(16);
  chaddr.set(station.macBytes);
  const payload = encodePacket({
    operation: "request",
    hardwareType: 1,
    hardwareLength: 6,
    hops: 0,
    xid: message.xid,
    secs: message.secs,
    flags: message.flags,
    ciaddr: proxy ? ipv4FromNumber(station.address) : unspecified,
    yiaddr: unspecified,
    siaddr: unspecified,
    giaddr: unspecified,
    chaddr,
    sname: "",
    file: "",
    options: new Map([option("messageType", messageTypes[message.type]), ...message.options]),
  });
  station.sendUdp(
    proxy
      ? { to: proxy.address, toMac: proxy.mac, toPort: proxyPort, fromPort: clientPort, payload }
      : { to: limitedBroadcast, toPort: serverPort, fromPort: clientPort, payload },
  );
}

/** Undefined: no DHCP answer with this transaction id. Another board's is given back, marked so. */
export function readReply(station: Station, arrival: Arrival, xid: number): Reply | undefined {
  if (arrival.kind !== "udp" || arrival.destinationPort !== clientPort) return undefined;
  try {
    const packet = decodePacket(arrival.payload);
    const type = readMessageType(packet.options);
    if (packet.operation !== "reply" || packet.xid !== xid || type === undefined) return undefined;
    const { source: address, sourceMac: mac } = arrival;
    return { type, packet, ...bootOf(packet, address, mac), ...addressesOf(station, packet) };
  } catch (error) {
    if (error instanceof PacketError) return undefined; // firmware drops it as we do
    throw error;
  }
}

function addressesOf(station: Station, packet: DhcpPacket) {
  const chaddr = packet.chaddr.subarray(0, 6);
  return {
    offered: ipv4ToNumber(packet.yiaddr),
    isForAnother: chaddr.toHex() !== station.macBytes.toHex(),
  };
}

function bootOf(packet: DhcpPacket, address: number, mac: EthernetAddress) {
  const identifier = readOption(packet.options, "serverIdentifier");
  const name = readOption(packet.options, "tftpServerName") ?? packet.sname;
  const named = /^\d+(?:\.\d+){3}$/.test(name)
    ? name.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0)
    : 0;
  return {
    address,
    mac,
    serverIdentifier: identifier === undefined ? address : ipv4ToNumber(identifier),
    bootFile: readOption(packet.options, "bootFileName") ?? packet.file,
    nextServer: ipv4ToNumber(packet.siaddr) || named || address,
  };
}

/** Takes the address with mask and router. */
export function takeAddress(station: Station, reply: Reply): void {
  const mask = readOption(reply.packet.options, "subnetMask");
  const router = readOption(reply.packet.options, "router")?.[0];
  station.address = reply.offered;
  station.netmask = mask === undefined ? 0xffff_ff00 : ipv4ToNumber(mask);
  station.router = router === undefined ? 0 : ipv4ToNumber(router);
}

/** Options 54 and 50 of the REQUEST that takes an offer (RFC 2131 §4.3.2, SELECTING). */
export function selecting(offer: Reply): OptionList {
  return [
    option("serverIdentifier", ipv4FromNumber(offer.serverIdentifier)),
    option("requestedAddress", ipv4FromNumber(offer.offered)),
  ];
}

export function isProxy(reply: Reply): boolean {
  return reply.offered === 0 && vendorClassOf(reply).startsWith("PXEClient");
}

export function vendorClassOf(reply: Reply): string {
  return readOption(reply.packet.options, "vendorClass") ?? "";
}

export const text = (value: string): Uint8Array =>
  Uint8Array.from(value, (character) => character.charCodeAt(0));

/** One character per octet. */
export function latin1(bytes: Uint8Array | undefined): string {
  return bytes ? Buffer.from(bytes).toString("latin1") : "";
}

export const dotted = (address: number): string => ipv4FromNumber(address);
