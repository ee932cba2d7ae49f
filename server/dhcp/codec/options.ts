/**
 * What the DHCP options mean that this server reads or sends (RFC 2132 unless noted).
 *
 * One table: name, code, type. {@link readOption} and {@link option} are made from
 * it; a new option is one line here. Codes outside the table are carried by
 * `packet.ts` and left alone.
 */

import { type Ipv4Address, ipv4FromNumber, ipv4ToNumber } from "#protocol/brand.ts";
import { PacketError } from "../../errors.ts";
import { decodeDomainSearch, encodeDomainSearch } from "./domain-search.ts";
import type { Options } from "./packet.ts";
import { decodeRoutes, encodeRoutes, type Route } from "./routes.ts";

const table = {
  subnetMask: [1, "address"],
  router: [3, "addresses"],
  domainNameServer: [6, "addresses"],
  hostName: [12, "text"],
  domainName: [15, "text"],
  broadcastAddress: [28, "address"],
  ntpServers: [42, "addresses"],
  vendorInformation: [43, "bytes"],
  requestedAddress: [50, "address"],
  leaseTime: [51, "uint32"],
  messageType: [53, "uint8"],
  serverIdentifier: [54, "address"],
  parameterRequestList: [55, "bytes"],
  message: [56, "text"],
  maximumMessageSize: [57, "uint16"],
  renewalTime: [58, "uint32"],
  rebindingTime: [59, "uint32"],
  vendorClass: [60, "text"],
  clientIdentifier: [61, "bytes"],
  tftpServerName: [66, "text"],
  bootFileName: [67, "text"],
  /** RFC 3004, but iPXE sends its name without the length octets. */
  userClass: [77, "bytes"],
  /** RFC 3046; see relay-agent.ts. */
  relayAgentInformation: [82, "bytes"],
  /** RFC 4578 §2.1: one type or several. */
  clientArchitecture: [93, "uint16s"],
  /** RFC 4578 §2.2. */
  clientInterface: [94, "bytes"],
  /** RFC 4578 §2.3; see pxe.ts. */
  clientMachine: [97, "bytes"],
  /** RFC 3397; see domain-search.ts. */
  domainSearch: [119, "domains"],
  /** RFC 3442; see routes.ts. */
  classlessRoutes: [121, "routes"],
  /** iPXE's encapsulated options. */
  ipxe: [175, "bytes"],
} as const satisfies Record<string, readonly [code: number, type: keyof ValueTypes]>;

interface ValueTypes {
  readonly uint8: number;
  readonly uint16: number;
  readonly uint32: number;
  readonly uint16s: readonly number[];
  readonly address: Ipv4Address;
  readonly addresses: readonly Ipv4Address[];
  /** One character per octet; trailing NULs are dropped. */
  readonly text: string;
  readonly bytes: Uint8Array;
  readonly domains: readonly string[];
  readonly routes: readonly Route[];
}

export type OptionName = keyof typeof table;
export type OptionValue<Name extends OptionName> = ValueTypes[(typeof table)[Name][1]];

/** Values of option 53 (RFC 2132 §9.6). */
export const messageTypes = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const;
export type MessageType = keyof typeof messageTypes;

const messageTypeNames = new Map(
  Object.entries(messageTypes).map(([name, value]) => [value as number, name as MessageType]),
);

export function optionCode(name: OptionName): number {
  return table[name][0];
}

/**
 * `undefined` when the message does not carry the option.
 *
 * @throws PacketError if the value's length does not fit its type. The offset counts from the value's start.
 */
export function readOption<Name extends OptionName>(
  options: Options,
  name: Name,
): OptionValue<Name> | undefined {
  const [code, type] = table[name];
  const value = options.get(code);
  return value && (readers[type](value, code) as OptionValue<Name>);
}

/** `undefined` for a code RFC 2132 does not name. */
export function readMessageType(options: Options): MessageType | undefined {
  const value = readOption(options, "messageType");
  return value === undefined ? undefined : messageTypeNames.get(value);
}

/** One entry for the options of a packet. */
export function option<Name extends OptionName>(
  name: Name,
  value: OptionValue<Name>,
): readonly [code: number, value: Uint8Array] {
  const [code, type] = table[name];
  const write: (value: never) => Uint8Array = writers[type];
  return [code, write(value as never)];
}

const readers: {
  readonly [T in keyof ValueTypes]: (b: Uint8Array, code: number) => ValueTypes[T];
} = {
  uint8: (value, code) => unsigned(value, 1, code),
  uint16: (value, code) => unsigned(value, 2, code),
  uint32: (value, code) => unsigned(value, 4, code),
  uint16s: (value, code) => pieces(value, 2, code).map((piece) => unsigned(piece, 2, code)),
  address: (value, code) => ipv4FromNumber(unsigned(value, 4, code)),
  addresses: (value, code) =>
    pieces(value, 4, code).map((piece) => ipv4FromNumber(unsigned(piece, 4, code))),
  text: textOf,
  bytes: (value) => value,
  domains: decodeDomainSearch,
  routes: decodeRoutes,
};

const writers: { readonly [T in keyof ValueTypes]: (value: ValueTypes[T]) => Uint8Array } = {
  uint8: (value) => Uint8Array.of(value),
  uint16: (value) => bigEndian(value, 2),
  uint32: (value) => bigEndian(value, 4),
  uint16s: (values) => join(values.map((value) => bigEndian(value, 2))),
  address: (value) => bigEndian(ipv4ToNumber(value), 4),
  addresses: (values) => join(values.map((value) => bigEndian(ipv4ToNumber(value), 4))),
  text: (value) => Uint8Array.from(value, (character) => character.charCodeAt(0)),
  bytes: (value) => value,
  domains: encodeDomainSearch,
  routes: encodeRoutes,
};

/** Octet by octet: a spread costs more than such a text. */
function textOf(value: Uint8Array): string {
  let { length } = value;
  while (length > 0 && value[length - 1] === 0) length -= 1;
  let text = "";
  for (let index = 0; index < length; index++) text += String.fromCharCode(value[index] ?? 0);
  return text;
}

function unsigned(value: Uint8Array, size: number, code: number): number {
  if (value.length !== size) {
    throw new PacketError(`option ${code} has ${value.length} octets instead of ${size}`, 0);
  }
  let sum = 0;
  for (const octet of value) sum = sum * 256 + octet;
  return sum;
}

function pieces(value: Uint8Array, size: number, code: number): readonly Uint8Array[] {
  if (value.length === 0 || value.length % size !== 0) {
    throw new PacketError(`option ${code}: ${value.length} octets are not a list of ${size}`, 0);
  }
  const all: Uint8Array[] = [];
  for (let at = 0; at < value.length; at += size) all.push(value.subarray(at, at + size));
  return all;
}

function bigEndian(value: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let index = 0; index < size; index++) bytes[index] = value >>> (8 * (size - 1 - index));
  return bytes;
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  return parts.length === 1 && only ? only : Uint8Array.from(parts.flatMap((part) => [...part]));
}
