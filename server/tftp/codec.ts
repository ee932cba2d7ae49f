/**
 * TFTP packets (RFC 1350) with the option extension (RFC 2347).
 *
 * Pure: bytes in, value out, and back. What an option means is decided in
 * transfer.ts; here an option is a name in lower case and a text.
 *
 *   RRQ/WRQ  | 1/2 |  name  | 0 |  mode  | 0 | option | 0 | value | 0 | ...
 *   DATA     |  3  | block  |  0-65464 octets
 *   ACK      |  4  | block  |
 *   ERROR    |  5  |  code  |  message  | 0 |
 *   OACK     |  6  | option | 0 | value | 0 | ...
 *             2 oct  2 oct
 */

import { PacketError } from "../errors.ts";

const opcode = { read: 1, write: 2, data: 3, ack: 4, error: 5, optionAck: 6 } as const;

/** RFC 1350 §5 and RFC 2347. */
export const errorCode = {
  undefined: 0,
  fileNotFound: 1,
  accessViolation: 2,
  illegalOperation: 4,
  unknownTransfer: 5,
  optionsRefused: 8,
} as const;

/** Longest request read: RFC 2347 limits a request to 512 octets. */
export const maxRequestOctets = 512;

/** Name (lower case) and value, in the order sent. */
export type TftpOptions = readonly (readonly [name: string, value: string])[];

export interface TftpRequest {
  readonly kind: "read" | "write";
  readonly name: string;
  /** Lower case: `octet`, `netascii`, `mail`, or what the client made up. */
  readonly mode: string;
  readonly options: TftpOptions;
}

export type TftpPacket =
  | TftpRequest
  | { readonly kind: "data"; readonly block: number; readonly bytes: Uint8Array }
  | { readonly kind: "ack"; readonly block: number }
  | { readonly kind: "error"; readonly code: number; readonly message: string }
  | { readonly kind: "option-ack"; readonly options: TftpOptions };

const utf8 = new TextEncoder();
const text = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Decodes one datagram.
 *
 * Lenient where clients are sloppy and nothing is lost by it: an error message
 * without its final zero, an option without a value, octets after an ACK.
 *
 * @throws PacketError if the opcode is unknown, a request has no name or mode,
 *   or a fixed field is cut off.
 */
export function decodePacket(bytes: Uint8Array): TftpPacket {
  const code = readUint16(bytes, 0, "opcode");
  switch (code) {
    case opcode.read:
      return decodeRequest("read", bytes);
    case opcode.write:
      return decodeRequest("write", bytes);
    case opcode.data:
      return { kind: "data", block: readUint16(bytes, 2, "block"), bytes: bytes.subarray(4) };
    case opcode.ack:
      return { kind: "ack", block: readUint16(bytes, 2, "block") };
    case opcode.error: {
      const end = bytes.indexOf(0, 4);
      const message = text.decode(bytes.subarray(4, end === -1 ? bytes.length : end));
      return { kind: "error", code: readUint16(bytes, 2, "error code"), message };
    }
    case opcode.optionAck:
      return { kind: "option-ack", options: pairs(strings(bytes, 2)) };
    default:
      throw new PacketError(`unknown opcode ${code}`, 0);
  }
}

function decodeRequest(kind: "read" | "write", bytes: Uint8Array): TftpRequest {
  if (bytes.length > maxRequestOctets) {
    throw new PacketError(`request of ${bytes.length} octets is longer than 512`, maxRequestOctets);
  }
  const [name, mode, ...rest] = strings(bytes, 2);
  if (name === undefined || name === "") throw new PacketError("request without file name", 2);
  if (mode === undefined) throw new PacketError("request without mode", bytes.length);
  return { kind, name, mode: mode.toLowerCase(), options: pairs(rest) };
}

export function encodePacket(packet: TftpPacket): Uint8Array {
  switch (packet.kind) {
    case "read":
    case "write":
      return join(opcode[packet.kind], [packet.name, packet.mode, ...packet.options.flat()]);
    case "data":
      return encodeData(packet.block, packet.bytes);
    case "ack":
      return Uint8Array.of(0, opcode.ack, packet.block >> 8, packet.block & 0xff);
    case "error": {
      const message = utf8.encode(packet.message);
      const out = new Uint8Array(4 + message.length + 1);
      out.set([0, opcode.error, packet.code >> 8, packet.code & 0xff]);
      out.set(message, 4);
      return out;
    }
    case "option-ack":
      return join(opcode.optionAck, packet.options.flat());
  }
}

/** @param block - 0-65535, as on the wire */
export function encodeData(block: number, bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + bytes.length);
  out[1] = opcode.data;
  out[2] = block >> 8;
  out[3] = block & 0xff;
  out.set(bytes, 4);
  return out;
}

function readUint16(bytes: Uint8Array, offset: number, field: string): number {
  const high = bytes[offset];
  const low = bytes[offset + 1];
  if (high === undefined || low === undefined) throw new PacketError(`${field} is cut off`, offset);
  return high * 256 + low;
}

/** The zero-ended strings from `offset`; octets after the last zero are dropped. */
function strings(bytes: Uint8Array, offset: number): string[] {
  const found: string[] = [];
  for (let start = offset; start < bytes.length; ) {
    const end = bytes.indexOf(0, start);
    if (end === -1) break;
    found.push(text.decode(bytes.subarray(start, end)));
    start = end + 1;
  }
  return found;
}

function pairs(list: readonly string[]): TftpOptions {
  const options: (readonly [string, string])[] = [];
  for (let at = 0; at + 1 < list.length; at += 2) {
    options.push([String(list[at]).toLowerCase(), String(list[at + 1])]);
  }
  return options;
}

function join(code: number, list: readonly string[]): Uint8Array {
  const parts = list.map((one) => utf8.encode(one));
  const out = new Uint8Array(2 + parts.reduce((size, part) => size + part.length + 1, 0));
  out[1] = code;
  let offset = 2;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length + 1;
  }
  return out;
}
