/**
 * Ethernet frames as a boot ROM sends and hears them: ARP (RFC 826), and UDP
 * (RFC 768) and TCP (RFC 9293) over IPv4 (RFC 791) without options or fragments.
 *
 * Pure: bytes in, value out, and back. Checksums of heard frames are not
 * verified: between virtual interfaces the kernel leaves them unfinished.
 *
 *   destination (6) | source (6) | type (2) | ARP or IPv4 ...
 */

import { complement, sumOf } from "../net/checksum.ts";

const etherType = { ipv4: 0x0800, arp: 0x0806 } as const;
const protocols = { tcp: 6, udp: 17 } as const;
const ethernetHeader = 14;
const ipv4Header = 20;
const udpHeader = 8;
const tcpHeader = 20;
const fragmentBits = 0x3fff; // more fragments, and the offset

/** Six octets. */
export type EthernetAddress = Uint8Array;
export const broadcastAddress: EthernetAddress = new Uint8Array(6).fill(0xff);
/** 255.255.255.255 */
export const limitedBroadcast = 0xffff_ffff;

export const tcpFlags = { fin: 1, syn: 2, reset: 4, push: 8, ack: 16 } as const;

export interface ArpFrame {
  readonly kind: "arp";
  readonly isRequest: boolean;
  readonly senderMac: EthernetAddress;
  /** IPv4 addresses are unsigned 32-bit numbers in this room. */
  readonly sender: number;
  readonly target: number;
}

interface Ipv4Ends {
  readonly sourceMac: EthernetAddress;
  readonly source: number;
  readonly destination: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export interface UdpFrame extends Ipv4Ends {
  readonly kind: "udp";
  /** A part of the frame: copy what must outlast it. */
  readonly payload: Uint8Array;
}

export interface TcpFrame extends Ipv4Ends {
  readonly kind: "tcp";
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  readonly payload: Uint8Array;
}

export type Frame = ArpFrame | UdpFrame | TcpFrame;

/** A key for maps: the address as a number of 48 bits. */
export function macKey(bytes: Uint8Array, offset = 0): number {
  let key = 0;
  for (let index = 0; index < 6; index++) key = key * 256 + (bytes[offset + index] ?? 0);
  return key;
}

export const isBroadcast = (frame: Uint8Array): boolean => macKey(frame) === 0xffff_ffff_ffff;

/** Undefined for whatever no boot ROM listens to: IPv6, fragments, frames that are cut off. */
export function decodeFrame(bytes: Uint8Array): Frame | undefined {
  if (bytes.length < ethernetHeader + ipv4Header) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (view.getUint16(12)) {
    case etherType.arp:
      return decodeArp(bytes, view);
    case etherType.ipv4:
      return decodeIpv4(bytes, view);
    default:
      return undefined;
  }
}

function decodeArp(bytes: Uint8Array, view: DataView): ArpFrame | undefined {
  if (bytes.length < 42) return undefined; // 14 (Ethernet) + 28 (ARP for IPv4)
  const operation = view.getUint16(20);
  if (operation !== 1 && operation !== 2) return undefined;
  return {
    kind: "arp",
    isRequest: operation === 1,
    senderMac: bytes.slice(22, 28),
    sender: view.getUint32(28),
    target: view.getUint32(38),
  };
}

function decodeIpv4(bytes: Uint8Array, view: DataView): UdpFrame | TcpFrame | undefined {
  const headerLength = (view.getUint8(14) & 0x0f) * 4;
  const end = ethernetHeader + view.getUint16(16);
  const at = ethernetHeader + headerLength;
  if (end > bytes.length || (view.getUint16(20) & fragmentBits) !== 0) return undefined;
  const protocol = view.getUint8(23);
  const ends = () => ({
    sourceMac: bytes.slice(6, 12),
    source: view.getUint32(26),
    destination: view.getUint32(30),
    sourcePort: view.getUint16(at),
    destinationPort: view.getUint16(at + 2),
  });
  if (protocol === protocols.udp && end >= at + udpHeader) {
    return { kind: "udp", ...ends(), payload: bytes.subarray(at + udpHeader, end) };
  }
  if (protocol !== protocols.tcp || end < at + tcpHeader) return undefined;
  const dataAt = at + (view.getUint8(at + 12) >> 4) * 4;
  if (dataAt < at + tcpHeader || dataAt > end) return undefined;
  return {
    kind: "tcp",
    ...ends(),
    sequence: view.getUint32(at + 4),
    acknowledgement: view.getUint32(at + 8),
    flags: view.getUint8(at + 13),
    payload: bytes.subarray(dataAt, end),
  };
}

export interface ArpOptions {
  readonly isRequest: boolean;
  readonly senderMac: EthernetAddress;
  readonly sender: number;
  /** Zeros in a request. */
  readonly targetMac: EthernetAddress;
  readonly target: number;
}

export function encodeArp(arp: ArpOptions): Uint8Array {
  const bytes = new Uint8Array(42);
  const view = new DataView(bytes.buffer);
  bytes.set(arp.isRequest ? broadcastAddress : arp.targetMac, 0);
  bytes.set(arp.senderMac, 6);
  view.setUint16(12, etherType.arp);
  bytes.set([0, 1, 8, 0, 6, 4, 0, arp.isRequest ? 1 : 2], 14); // Ethernet, IPv4
  bytes.set(arp.senderMac, 22);
  view.setUint32(28, arp.sender);
  if (!arp.isRequest) bytes.set(arp.targetMac, 32);
  view.setUint32(38, arp.target);
  return bytes;
}

export interface UdpOptions extends Ipv4Ends {
  readonly destinationMac: EthernetAddress;
  /** Time to live. */
  readonly ttl: number;
  /** False: the field stays 0, as a Raspberry Pi 3's ROM leaves it. */
  readonly checksum: boolean;
  readonly payload: Uint8Array;
}

export function encodeUdp(udp: UdpOptions): Uint8Array {
  const length = udpHeader + udp.payload.length;
  const { bytes, view } = ipv4Packet(udp, protocols.udp, length);
  const at = ethernetHeader + ipv4Header;
  view.setUint16(at + 4, length);
  bytes.set(udp.payload, at + udpHeader);
  if (udp.checksum) {
    const sum = transportChecksum(bytes, view, protocols.udp);
    view.setUint16(at + 6, sum === 0 ? 0xffff : sum); // 0 would mean "none"
  }
  return bytes;
}

export interface TcpOptions extends Ipv4Ends {
  readonly destinationMac: EthernetAddress;
  readonly ttl: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  readonly window: number;
  /** Only in a SYN: option 2. */
  readonly maximumSegment?: number;
  readonly payload: Uint8Array;
}

export function encodeTcp(tcp: TcpOptions): Uint8Array {
  const header = tcpHeader + (tcp.maximumSegment === undefined ? 0 : 4);
  const { bytes, view } = ipv4Packet(tcp, protocols.tcp, header + tcp.payload.length);
  const at = ethernetHeader + ipv4Header;
  view.setUint32(at + 4, tcp.sequence);
  view.setUint32(at + 8, tcp.acknowledgement);
  view.setUint8(at + 12, (header / 4) << 4);
  view.setUint8(at + 13, tcp.flags);
  view.setUint16(at + 14, tcp.window);
  if (tcp.maximumSegment !== undefined) {
    bytes.set([2, 4], at + tcpHeader);
    view.setUint16(at + tcpHeader + 2, tcp.maximumSegment);
  }
  bytes.set(tcp.payload, at + header);
  view.setUint16(at + 16, transportChecksum(bytes, view, protocols.tcp));
  return bytes;
}

/** Everything but the transport header's own fields after the ports. */
function ipv4Packet(
  ends: Ipv4Ends & { readonly destinationMac: EthernetAddress; readonly ttl: number },
  protocol: number,
  length: number,
): { readonly bytes: Uint8Array; readonly view: DataView } {
  const bytes = new Uint8Array(ethernetHeader + ipv4Header + length);
  const view = new DataView(bytes.buffer);
  bytes.set(ends.destinationMac, 0);
  bytes.set(ends.sourceMac, 6);
  view.setUint16(12, etherType.ipv4);
  view.setUint8(14, 0x45); // version 4, five words
  view.setUint16(16, ipv4Header + length);
  view.setUint8(22, ends.ttl);
  view.setUint8(23, protocol);
  view.setUint32(26, ends.source);
  view.setUint32(30, ends.destination);
  view.setUint16(24, complement(sumOf(view, ethernetHeader, ethernetHeader + ipv4Header)));
  view.setUint16(34, ends.sourcePort);
  view.setUint16(36, ends.destinationPort);
  return { bytes, view };
}

/** Over the pseudo header (addresses, protocol, length), the header with its checksum 0, and the payload. */
function transportChecksum(bytes: Uint8Array, view: DataView, protocol: number): number {
  const at = ethernetHeader + ipv4Header;
  const pseudo = sumOf(view, 26, 34) + protocol + (bytes.length - at);
  return complement(pseudo + sumOf(view, at, bytes.length));
}
