/**
 * Branded primitives: a string or number that has passed its parser.
 *
 * A function that takes a `MacAddress` never has to ask whether the text is a
 * MAC address; the only way to make one is {@link parseMacAddress}.
 */

declare const brand: unique symbol;

/** `Base` that carries the compile-time mark `Name`. Costs nothing at run time. */
export type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };

/** Ethernet hardware address in lower case with colons: `dc:a6:32:01:02:03`. */
export type MacAddress = Branded<string, "MacAddress">;

/** Dotted quad, each part 0-255, no leading zeros: `10.77.0.11`. */
export type Ipv4Address = Branded<string, "Ipv4Address">;

/** Milliseconds since 1970-01-01T00:00:00Z, as `Date.now()` counts them. */
export type Instant = Branded<number, "Instant">;

/** A duration in whole seconds, as DHCP carries it (RFC 2132 §9.2). */
export type Seconds = Branded<number, "Seconds">;

/** A duration in milliseconds, as Node's timers take it. */
export type Milliseconds = Branded<number, "Milliseconds">;

/** sha-256 of an image's plain (uncompressed) bytes: 64 lower-case hexadecimal digits. */
export type ImageDigest = Branded<string, "ImageDigest">;

/** Opaque identifiers, prefixed so that a mix-up is seen: `node_…`, `job_…`, `task_…`. */
export type NodeId = Branded<string, "NodeId">;
export type JobId = Branded<string, "JobId">;
export type TaskId = Branded<string, "TaskId">;

const macPattern = /^[0-9a-f]{2}(?<sep>[:-])(?:[0-9a-f]{2}\k<sep>){4}[0-9a-f]{2}$/i;
const ipv4Pattern = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;
const digestPattern = /^[0-9a-f]{64}$/;
const octetDigits = Array.from({ length: 256 }, (_, octet) => octet.toString(16).padStart(2, "0"));
const dot = 46; // "."
const zero = 48; // "0"

/**
 * Parses a hardware address written with colons or hyphens.
 *
 * @throws RangeError if `text` is not six hexadecimal octets.
 */
export function parseMacAddress(text: string): MacAddress {
  if (!macPattern.test(text)) {
    throw new RangeError(`not a hardware address: ${JSON.stringify(text)}`);
  }
  return text.toLowerCase().replaceAll("-", ":") as MacAddress;
}

/** @throws RangeError if `text` is not four decimal octets. */
export function parseIpv4Address(text: string): Ipv4Address {
  if (!ipv4Pattern.test(text)) {
    throw new RangeError(`not an IPv4 address: ${JSON.stringify(text)}`);
  }
  return text as Ipv4Address;
}

/** The first six of the octets from `offset` on, as DHCP's `chaddr` carries them; those that are not there count as 0. */
export function macAddressFrom(octets: Uint8Array, offset = 0): MacAddress {
  let text = octetDigits[octets[offset] ?? 0] ?? "";
  for (let index = offset + 1; index < offset + 6; index++) {
    text += `:${octetDigits[octets[index] ?? 0]}`;
  }
  return text as MacAddress;
}

/** The address as an unsigned 32-bit number, for arithmetic on subnets and pools. */
export function ipv4ToNumber(address: Ipv4Address): number {
  let value = 0;
  let octet = 0;
  for (let index = 0; index < address.length; index++) {
    const code = address.charCodeAt(index);
    if (code === dot) {
      value = value * 256 + octet;
      octet = 0;
    } else octet = octet * 10 + code - zero;
  }
  return value * 256 + octet;
}

/** @throws RangeError if `value` is not an unsigned 32-bit integer. */
export function ipv4FromNumber(value: number): Ipv4Address {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) {
    throw new RangeError(`not an IPv4 address: ${value}`);
  }
  const text = `${value >>> 24}.${(value >>> 16) & 0xff}.${(value >>> 8) & 0xff}.${value & 0xff}`;
  return text as Ipv4Address;
}

/** @throws RangeError if `text` is not 64 lower-case hexadecimal digits. */
export function parseImageDigest(text: string): ImageDigest {
  if (!digestPattern.test(text)) {
    throw new RangeError(`not a sha-256 digest: ${JSON.stringify(text)}`);
  }
  return text as ImageDigest;
}

/** @throws RangeError unless 0 <= value <= 4294967295 and whole. */
export function seconds(value: number): Seconds {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) {
    throw new RangeError(`not a DHCP time in seconds: ${value}`);
  }
  return value as Seconds;
}

/** @throws RangeError unless finite and not negative. */
export function milliseconds(value: number): Milliseconds {
  if (!Number.isFinite(value) || value < 0) {
    throw new RangeError(`not a duration in milliseconds: ${value}`);
  }
  return value as Milliseconds;
}

export function instant(value: number): Instant {
  if (!Number.isFinite(value)) throw new RangeError(`not a time: ${value}`);
  return value as Instant;
}

export function toMilliseconds(value: Seconds): Milliseconds {
  return (value * 1000) as Milliseconds;
}

export function after(at: Instant, duration: Milliseconds): Instant {
  return (at + duration) as Instant;
}

/** The compiler refuses a call that could happen: every case of a union was handled. */
export function unreachable(value: never): never {
  throw new TypeError(`unhandled case: ${JSON.stringify(value)}`);
}
