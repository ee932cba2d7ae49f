/**
 * Writes the three X.509 certificates the site needs (RFC 5280): its authority,
 * a server, a node. Writing only: whoever receives one lets TLS check it.
 *
 * Pure: fields in, DER out; the caller's `sign` makes the signature. Nothing
 * here reads a certificate, a key file or a clock.
 *
 *   Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, BIT STRING signature }
 */

import type { Ipv4Address } from "#protocol/brand.ts";

export interface CertificateFields {
  /** Common name of the issuer; equal to `subject` in the authority's own certificate. */
  readonly issuer: string;
  readonly subject: string;
  /** Positive; RFC 5280 §4.1.2.2 allows at most 20 octets. */
  readonly serial: Uint8Array;
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Uint8Array;
  /** Identifiers of the two keys, RFC 5280 §4.2.1.1 and §4.2.1.2. */
  readonly subjectKeyId: Uint8Array;
  readonly authorityKeyId: Uint8Array;
  readonly use:
    | { readonly kind: "authority" }
    | { readonly kind: "server"; readonly addresses: readonly Ipv4Address[] }
    | { readonly kind: "node" };
}

/** Tags of X.690 §8; the context-specific ones are RFC 5280's. */
const tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
  version: 0xa0,
  extensions: 0xa3,
  keyIdentifier: 0x80,
  ipAddress: 0x87,
} as const;

const oid = {
  commonName: "550403",
  ecdsaWithSha256: "2a8648ce3d040302",
  subjectKeyIdentifier: "551d0e",
  keyUsage: "551d0f",
  subjectAltName: "551d11",
  basicConstraints: "551d13",
  authorityKeyIdentifier: "551d23",
  extendedKeyUsage: "551d25",
  serverAuth: "2b06010505070301",
  clientAuth: "2b06010505070302",
} as const;

/** A node without a battery starts in 1970, and must still get in. */
const notBefore = element(tag.utcTime, text("700101000000Z"));
/** "No well-defined expiration", RFC 5280 §4.1.2.5: a credential ends when it is replaced. */
const notAfter = element(tag.generalizedTime, text("99991231235959Z"));

const algorithm = sequence(objectId(oid.ecdsaWithSha256));

/**
 * @param sign - ECDSA P-256 with SHA-256 by the authority's key, as DER
 * @returns the certificate as DER
 */
export function writeCertificate(
  fields: CertificateFields,
  sign: (toBeSigned: Uint8Array) => Uint8Array,
): Uint8Array {
  const toBeSigned = sequence(
    element(tag.version, element(tag.integer, Uint8Array.of(2))), // v3
    integer(fields.serial),
    algorithm,
    name(fields.issuer),
    sequence(notBefore, notAfter),
    name(fields.subject),
    fields.publicKey,
    element(tag.extensions, sequence(...extensions(fields))),
  );
  return sequence(toBeSigned, algorithm, bitString(sign(toBeSigned), 0));
}

function extensions(fields: CertificateFields): Uint8Array[] {
  const keys = [
    extension(oid.subjectKeyIdentifier, element(tag.octetString, fields.subjectKeyId)),
    extension(
      oid.authorityKeyIdentifier,
      sequence(element(tag.keyIdentifier, fields.authorityKeyId)),
    ),
  ];
  if (fields.use.kind === "authority") {
    return [
      // cA, pathLenConstraint 0: it signs no further authority.
      critical(oid.basicConstraints, sequence(yes, element(tag.integer, Uint8Array.of(0)))),
      critical(oid.keyUsage, bitString(Uint8Array.of(0b0000_0100), 2)), // keyCertSign
      ...keys,
    ];
  }
  const purpose = fields.use.kind === "server" ? oid.serverAuth : oid.clientAuth;
  const leaf = [
    critical(oid.basicConstraints, sequence()),
    critical(oid.keyUsage, bitString(Uint8Array.of(0b1000_0000), 7)), // digitalSignature
    extension(oid.extendedKeyUsage, sequence(objectId(purpose))),
    ...keys,
  ];
  if (fields.use.kind === "node") return leaf;
  const addresses = fields.use.addresses.map((address) =>
    element(tag.ipAddress, Uint8Array.from(address.split("."), Number)),
  );
  return [...leaf, extension(oid.subjectAltName, sequence(...addresses))];
}

const yes = element(tag.boolean, Uint8Array.of(0xff));

function extension(id: string, value: Uint8Array): Uint8Array {
  return sequence(objectId(id), element(tag.octetString, value));
}

function critical(id: string, value: Uint8Array): Uint8Array {
  return sequence(objectId(id), yes, element(tag.octetString, value));
}

function name(commonName: string): Uint8Array {
  const attribute = sequence(objectId(oid.commonName), element(tag.utf8String, text(commonName)));
  return sequence(element(tag.set, attribute));
}

/** Unsigned magnitude to INTEGER: shortest form, with a zero octet where the sign bit would show. */
function integer(magnitude: Uint8Array): Uint8Array {
  const start = magnitude.findIndex((octet) => octet !== 0);
  const digits = start < 0 ? Uint8Array.of(0) : magnitude.subarray(start);
  const [first = 0] = digits;
  return element(tag.integer, ...(first < 0x80 ? [digits] : [Uint8Array.of(0), digits]));
}

function bitString(value: Uint8Array, unusedBits: number): Uint8Array {
  return element(tag.bitString, Uint8Array.of(unusedBits), value);
}

function objectId(hex: string): Uint8Array {
  return element(tag.oid, Uint8Array.fromHex(hex));
}

function sequence(...members: readonly Uint8Array[]): Uint8Array {
  return element(tag.sequence, ...members);
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

/** Identifier octet, definite length (X.690 §10.1), contents. */
function element(identifier: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const header = [identifier, ...lengthOctets(length)];
  const bytes = new Uint8Array(header.length + length);
  bytes.set(header);
  let at = header.length;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function lengthOctets(length: number): readonly number[] {
  if (length < 0x80) return [length];
  if (length < 0x100) return [0x81, length];
  return [0x82, length >>> 8, length & 0xff]; // no certificate of ours reaches 64 KiB
}
