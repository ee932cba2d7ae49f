/**
 * UDP to a client that has no address yet: the packet is laid out here and handed
 * to the kernel with the client's hardware address (packet(7), SOCK_DGRAM), so that
 * no neighbour entry is needed, none is left behind, and one system call does it.
 *
 *   0        4        8        12       16       20       24       28
 *   +--------+--------+--------+--------+--------+--------+--------+-- ... --+
 *   | IPv4 header (20, no options)               | UDP header (8)  | payload |
 *   +--------+--------+--------+--------+--------+--------+--------+-- ... --+
 */

import { type Ipv4Address, ipv4ToNumber, type MacAddress } from "#protocol/brand.ts";
import { linux, loadCLibrary } from "./c-library.ts";
import { complement, sumOf } from "./checksum.ts";

export interface Datagram {
  readonly from: Ipv4Address;
  readonly fromPort: number;
  readonly to: Ipv4Address;
  readonly toPort: number;
  readonly payload: Uint8Array;
}

export interface FrameSender {
  /** False when the kernel did not take it: the interface is down or gone, or its queue is full. */
  send(datagram: Datagram, mac: MacAddress): boolean;
  /** @param packet - from its IPv6 header on */
  sendIpv6(packet: Uint8Array, mac: MacAddress): boolean;
  close(): void;
}

const etherType = { ipv4: 0x0800, ipv6: 0x86dd } as const;
const ethernet = 1; // ARPHRD_ETHER
const addressSize = 20; // struct sockaddr_ll
const headersSize = 28; // 20 (IPv4) + 8 (UDP)
const udp = 17;
const timeToLive = 64;

/** `undefined` where it is not allowed (CAP_NET_RAW), or there is no such interface. */
export async function openFrameSender(interfaceName: string): Promise<FrameSender | undefined> {
  const c = await loadCLibrary().catch(() => undefined);
  if (!c) return undefined;
  const fd = c.socket(linux.packet, linux.datagram | linux.closeOnExec, 0); // protocol 0: it hears nothing
  if (fd < 0) return undefined;
  const index = c.interfaceIndex(interfaceName);
  if (index === 0) {
    c.close(fd);
    return undefined;
  }
  const address = Buffer.alloc(addressSize);
  address.writeUInt16LE(linux.packet, 0);
  address.writeInt32LE(index, 4);
  address.writeUInt16LE(ethernet, 8);
  address.writeUInt8(6, 11);
  const sendPacket = (type: number, packet: Uint8Array, mac: MacAddress) => {
    address.writeUInt16BE(type, 2);
    writeMac(address, mac);
    return c.sendto(fd, packet, packet.length, linux.dontWait, address, addressSize) >= 0;
  };
  return {
    send: (datagram, mac) => sendPacket(etherType.ipv4, encodeDatagram(datagram), mac),
    sendIpv6: (packet, mac) => sendPacket(etherType.ipv6, packet, mac),
    close: () => void c.close(fd),
  };
}

/** IPv4 and UDP headers with their checksums, and the payload (RFC 791, RFC 768). */
export function encodeDatagram({ from, fromPort, to, toPort, payload }: Datagram): Uint8Array {
  const bytes = new Uint8Array(headersSize + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0x4500); // version 4, five words
  view.setUint16(2, bytes.length);
  view.setUint16(6, 0x4000); // don't fragment
  view.setUint8(8, timeToLive);
  view.setUint8(9, udp);
  view.setUint32(12, ipv4ToNumber(from));
  view.setUint32(16, ipv4ToNumber(to));
  view.setUint16(10, complement(sumOf(view, 0, 20)));
  const length = 8 + payload.length;
  view.setUint16(20, fromPort);
  view.setUint16(22, toPort);
  view.setUint16(24, length);
  bytes.set(payload, headersSize);
  const pseudo = sumOf(view, 12, 20) + udp + length; // both addresses, protocol, length
  view.setUint16(26, complement(pseudo + sumOf(view, 20, bytes.length)) || 0xffff); // 0 means: none
  return bytes;
}

function writeMac(address: Buffer, mac: MacAddress): void {
  for (let index = 0; index < 6; index++) {
    address[12 + index] = Number.parseInt(mac.slice(3 * index, 3 * index + 2), 16);
  }
}
