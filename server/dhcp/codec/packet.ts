/**
 * A DHCP message: the BOOTP header (RFC 951, RFC 2131 §2) and its options (RFC 2132).
 *
 * Pure: bytes in, value out, and back. Nothing here knows what an option means;
 * `options.ts` does. Long options are joined and split (RFC 3396), the fields
 * `file` and `sname` are read as options when option 52 says so.
 *
 *   0        1        2        3
 *   +--------+--------+--------+--------+
 *   |   op   | htype  |  hlen  |  hops  |
 *   +--------+--------+--------+--------+
 *   |                xid                |
 *   +-----------------+-----------------+
 *   |      secs       |      flags      |
 *   +-----------------+-----------------+
 *   | ciaddr, yiaddr, siaddr, giaddr    |  4 octets each
 *   +-----------------------------------+
 *   | chaddr (16), sname (64), file (128)
 *   +-----------------------------------+
 *   | 99, 130, 83, 99 | options ... 255 |
 *   +-----------------------------------+
 */

import { type Ipv4Address, ipv4FromNumber, ipv4ToNumber } from "#protocol/brand.ts";
import { PacketError } from "../../errors.ts";

/** Option codes that shape the message itself; every other code is only carried. */
const framing = { pad: 0, overload: 52, end: 255 } as const;
const operations = { request: 1, reply: 2 } as const;

const offsets = {
  xid: 4,
  secs: 8,
  addresses: 12,
  chaddr: 28,
  sname: 44,
  file: 108,
  cookie: 236,
} as const;
const headerSize = 240; // 236 (BOOTP) + 4 (magic cookie)
const magicCookie = 0x63825363; // RFC 2131 §3
const minimumSize = 300; // RFC 951 §3: relays and ROMs drop shorter ones
const snameSize = 64;
const fileSize = 128;
const maximumHardwareLength = 16;
const noAddress = ipv4FromNumber(0);

/** Bit 0 of `flags`: the client cannot receive unicast before it has an address (RFC 2131 §4.1). */
export const broadcastFlag = 0x8000;

/** Option code to value; a value longer than 255 octets is one value here. */
export type Options = ReadonlyMap<number, Uint8Array>;

export interface DhcpPacket {
  readonly operation: keyof typeof operations;
  /** 1 is Ethernet. */
  readonly hardwareType: number;
  /** Octets of `chaddr` that count, 0-16. */
  readonly hardwareLength: number;
  readonly hops: number;
  readonly xid: number;
  readonly secs: number;
  readonly flags: number;
  readonly ciaddr: Ipv4Address;
  readonly yiaddr: Ipv4Address;
  readonly siaddr: Ipv4Address;
  readonly giaddr: Ipv4Address;
  /** All 16 octets. */
  readonly chaddr: Uint8Array;
  /** Up to the first NUL, one character per octet; empty when the field held options. */
  readonly sname: string;
  readonly file: string;
  /** In the order they came; without 52, pads and the end. */
  readonly options: Options;
  /**
   * Octets the receiver takes. Options that do not fit go into `file` and `sname`
   * where those are empty (option 52). Only for encoding; absent: all of it in one piece.
   */
  readonly maximumSize?: number;
}

/**
 * Decodes the payload of a UDP datagram.
 *
 * A missing end option is accepted: some ROMs fill the datagram to its end.
 *
 * @throws PacketError if it is shorter than the header, has no magic cookie, or
 *   an option runs past the end of its field.
 */
export function decodePacket(bytes: Uint8Array): DhcpPacket {
  if (bytes.length < headerSize) throw new PacketError("DHCP header is cut short", bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const hardwareLength = view.getUint8(2);
  if (hardwareLength > maximumHardwareLength) {
    throw new PacketError(`hardware address of ${hardwareLength} octets`, 2);
  }
  if (view.getUint32(offsets.cookie) !== magicCookie) {
    throw new PacketError("no DHCP magic cookie", offsets.cookie);
  }
  const options = new Map<number, Uint8Array>();
  readOptions(bytes, headerSize, bytes.length, options);
  const overload = readOverload(options);
  if (overload & 1) readOptions(bytes, offsets.file, offsets.file + fileSize, options);
  if (overload & 2) readOptions(bytes, offsets.sname, offsets.sname + snameSize, options);
  options.delete(framing.overload);

  const addressAt = (index: number) => {
    const value = view.getUint32(offsets.addresses + 4 * index);
    return value === 0 ? noAddress : ipv4FromNumber(value); // nearly always 0
  };
  return {
    operation: operationOf(view.getUint8(0)),
    hardwareType: view.getUint8(1),
    hardwareLength,
    hops: view.getUint8(3),
    xid: view.getUint32(offsets.xid),
    secs: view.getUint16(8),
    flags: view.getUint16(10),
    ciaddr: addressAt(0),
    yiaddr: addressAt(1),
    siaddr: addressAt(2),
    giaddr: addressAt(3),
    chaddr: bytes.slice(offsets.chaddr, offsets.sname),
    sname: overload & 2 ? "" : readText(bytes, offsets.sname, snameSize),
    file: overload & 1 ? "" : readText(bytes, offsets.file, fileSize),
    options,
  };
}

/**
 * Encodes options in their order, an end option, and zeros up to 300 octets.
 *
 * The result is longer than `maximumSize` when even `file` and `sname` do not help.
 *
 * @throws RangeError if `sname` or `file` is longer than its field: a fault of the caller.
 */
export function encodePacket(packet: DhcpPacket): Uint8Array {
  const layout = layOut(packet);
  const bytes = new Uint8Array(encodedSize(layout));
  bytes[0] = operations[packet.operation];
  bytes[1] = packet.hardwareType;
  bytes[2] = packet.hardwareLength;
  bytes[3] = packet.hops;
  write32(bytes, offsets.xid, packet.xid);
  write32(bytes, offsets.secs, packet.secs * 65536 + packet.flags);
  write32(bytes, offsets.addresses, ipv4ToNumber(packet.ciaddr));
  write32(bytes, offsets.addresses + 4, ipv4ToNumber(packet.yiaddr));
  write32(bytes, offsets.addresses + 8, ipv4ToNumber(packet.siaddr));
  write32(bytes, offsets.addresses + 12, ipv4ToNumber(packet.giaddr));
  for (let index = 0; index < maximumHardwareLength; index++) {
    bytes[offsets.chaddr + index] = packet.chaddr[index] ?? 0;
  }
  writeText(bytes, packet.sname, offsets.sname, snameSize);
  writeText(bytes, packet.file, offsets.file, fileSize);
  write32(bytes, offsets.cookie, magicCookie);
  let at = writeOptions(bytes, headerSize, layout.main);
  if (layout.overload > 0) {
    bytes.set([framing.overload, 1, layout.overload], at);
    at = writeOptions(bytes, at + overloadSize, layout.last);
  } else at = writeOptions(bytes, at, layout.last);
  bytes[at] = framing.end;
  if (layout.overload & 1) {
    bytes[writeOptions(bytes, offsets.file, layout.file)] = framing.end;
  }
  if (layout.overload & 2) {
    bytes[writeOptions(bytes, offsets.sname, layout.sname)] = framing.end;
  }
  return bytes;
}

/** Whether {@link encodePacket} stays within `maximumSize`. */
export function isWithinMaximum(packet: DhcpPacket): boolean {
  return encodedSize(layOut(packet)) <= (packet.maximumSize ?? Number.POSITIVE_INFINITY);
}

type Entry = readonly [code: number, value: Uint8Array];

/** Which options stand in which field. */
interface Layout {
  readonly main: readonly Entry[];
  /** A relay agent takes its option off the end of the options field. */
  readonly last: readonly Entry[];
  readonly file: readonly Entry[];
  readonly sname: readonly Entry[];
  /** Value of option 52; 0: it is not sent. */
  readonly overload: number;
}

const overloadSize = 3; // code, length, value
const relayAgentInformation = 82;
/** A client reads these before it looks at option 52. */
const neverMoved: readonly number[] = [53, 54];

function layOut(packet: DhcpPacket): Layout {
  const others: Entry[] = [];
  const last: Entry[] = [];
  for (const entry of packet.options) {
    if (isCarried(entry[0])) (entry[0] === relayAgentInformation ? last : others).push(entry);
  }
  const room = (packet.maximumSize ?? Number.POSITIVE_INFINITY) - headerSize - 1; // 1: end option
  if (sizeOf(others) + sizeOf(last) <= room) {
    return { main: others, last, file: [], sname: [], overload: 0 };
  }

  const main = others.filter(([code]) => neverMoved.includes(code));
  const file: Entry[] = [];
  const sname: Entry[] = [];
  const fields = [
    { into: main, room: room - overloadSize - sizeOf(main) - sizeOf(last) },
    { into: file, room: packet.file === "" ? fileSize - 1 : 0 },
    { into: sname, room: packet.sname === "" ? snameSize - 1 : 0 },
  ];
  for (const entry of others) {
    if (neverMoved.includes(entry[0])) continue;
    const size = sizeOf([entry]);
    const field = fields.find((one) => one.room >= size);
    if (field) field.room -= size;
    (field?.into ?? main).push(entry);
  }
  const overload = (file.length > 0 ? 1 : 0) | (sname.length > 0 ? 2 : 0);
  return { main, last, file, sname, overload };
}

function encodedSize({ main, last, overload }: Layout): number {
  const options = sizeOf(main) + sizeOf(last) + (overload > 0 ? overloadSize : 0);
  return Math.max(minimumSize, headerSize + options + 1);
}

/** A value longer than 255 octets takes a code and a length for each piece (RFC 3396 §6). */
function sizeOf(entries: readonly Entry[]): number {
  let size = 0;
  for (const [, { length }] of entries) size += length + 2 * Math.max(1, Math.ceil(length / 255));
  return size;
}

function isCarried(code: number): boolean {
  return code !== framing.pad && code !== framing.end && code !== framing.overload;
}

/** @returns the offset behind the last option written. */
function writeOptions(bytes: Uint8Array, from: number, entries: readonly Entry[]): number {
  let at = from;
  for (const [code, value] of entries) {
    for (let start = 0; start === 0 || start < value.length; start += 255) {
      const length = Math.min(255, value.length - start);
      bytes[at] = code;
      bytes[at + 1] = length;
      at += 2;
      // octet by octet: most values have four, and a view costs more than that
      for (let index = start; index < start + length; index++) bytes[at++] = value[index] ?? 0;
    }
  }
  return at;
}

function write32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

function operationOf(value: number): keyof typeof operations {
  if (value === operations.request) return "request";
  if (value === operations.reply) return "reply";
  throw new PacketError(`BOOTP operation ${value} is neither request nor reply`, 0);
}

/** Adds the options of one field; a code seen before is continued (RFC 3396 §5). */
function readOptions(
  bytes: Uint8Array,
  from: number,
  to: number,
  into: Map<number, Uint8Array>,
): void {
  for (let offset = from; offset < to; ) {
    const code = bytes[offset];
    if (code === framing.end) return;
    if (code === undefined || code === framing.pad) {
      offset += 1;
      continue;
    }
    const length = offset + 1 < to ? bytes[offset + 1] : undefined;
    if (length === undefined || offset + 2 + length > to) {
      throw new PacketError(`option ${code} runs past the end`, offset);
    }
    const value = bytes.slice(offset + 2, offset + 2 + length);
    const earlier = into.get(code);
    into.set(code, earlier ? concatenate(earlier, value) : value);
    offset += 2 + length;
  }
}

/** 0, or the bits of option 52: 1 `file`, 2 `sname` (RFC 2132 §9.3). */
function readOverload(options: Options): number {
  const value = options.get(framing.overload);
  if (!value) return 0;
  const bits = value[0];
  if (value.length !== 1 || bits === undefined || bits < 1 || bits > 3) {
    throw new PacketError(`option overload ${value.toHex()} is not 1, 2 or 3`, headerSize);
  }
  return bits;
}

function readText(bytes: Uint8Array, offset: number, size: number): string {
  if (bytes[offset] === 0) return ""; // nearly always
  const field = bytes.subarray(offset, offset + size);
  const end = field.indexOf(0);
  return String.fromCharCode(...(end < 0 ? field : field.subarray(0, end)));
}

function writeText(bytes: Uint8Array, text: string, offset: number, size: number): void {
  if (text.length > size) {
    throw new RangeError(`${JSON.stringify(text)} is longer than ${size} octets`);
  }
  for (let index = 0; index < text.length; index++) bytes[offset + index] = text.charCodeAt(index);
}

function concatenate(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
