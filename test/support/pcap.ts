/**
 * Reads UDP datagrams from a classic pcap file (libpcap's format, version 2.4) of
 * Ethernet frames. IPv4 only, no fragments; everything else is skipped.
 */

import { readFileSync } from "node:fs";

export interface Datagram {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly source: string;
  readonly destination: string;
  /** Ethernet destination. */
  readonly mac: string;
  readonly payload: Uint8Array;
}

const fileHeader = 24;
const recordHeader = 16;
const ethernetHeader = 14;

export function readDatagrams(path: string | URL): readonly Datagram[] {
  const file = readFileSync(path);
  if (file.readUInt32LE(0) !== 0xa1b2c3d4) throw new RangeError(`${path} is not a pcap file`);
  const found: Datagram[] = [];
  for (let offset = fileHeader; offset + recordHeader <= file.length; ) {
    const length = file.readUInt32LE(offset + 8);
    const frame = file.subarray(offset + recordHeader, offset + recordHeader + length);
    const datagram = readFrame(frame);
    if (datagram) found.push(datagram);
    offset += recordHeader + length;
  }
  return found;
}

function readFrame(frame: Buffer): Datagram | undefined {
  if (frame.length < 42 || frame.readUInt16BE(12) !== 0x0800) return undefined;
  const ip = frame.subarray(ethernetHeader);
  if (ip[9] !== 17) return undefined;
  const udp = ip.subarray(((ip[0] ?? 0) & 0x0f) * 4);
  return {
    mac: frame
      .subarray(0, 6)
      .toString("hex")
      .replace(/..(?!$)/g, "$&:"),
    source: [...ip.subarray(12, 16)].join("."),
    destination: [...ip.subarray(16, 20)].join("."),
    sourcePort: udp.readUInt16BE(0),
    destinationPort: udp.readUInt16BE(2),
    payload: Uint8Array.from(udp.subarray(8, udp.readUInt16BE(4))),
  };
}
