/**
 * The three X.509 certificates the site needs (RFC 5280): its authority, a
 * server, a node. What they say is decided here; @peculiar/x509 writes and
 * signs them. Nothing here reads a certificate, a key file or a clock: whoever
 * receives a certificate lets TLS check it.
 */

import "reflect-metadata"; // the library looks for it when it is loaded

import { createHash, createPublicKey, type KeyObject } from "node:crypto";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  type JsonName,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";
import type { Ipv4Address } from "#protocol/brand.ts";

export interface CertificateFields {
  /**
   * Common name of the issuer; equal to `subject` in the authority's own certificate.
   * Both are of our making: a leading `#`, `"` and `\` would not be taken literally.
   */
  readonly issuer: string;
  readonly subject: string;
  /** ECDSA P-256 or ed25519. */
  readonly publicKey: KeyObject;
  readonly use:
    | { readonly kind: "authority" }
    | { readonly kind: "server"; readonly addresses: readonly Ipv4Address[] }
    | { readonly kind: "node" };
}

/** A node without a battery starts in 1970, and must still get in. */
const notBefore = new Date(0);
/** "No well-defined expiration", RFC 5280 §4.1.2.5: a credential ends when it is replaced. */
const notAfter = new Date("9999-12-31T23:59:59Z");

const ecdsa = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/**
 * @param authorityKey - private key, ECDSA P-256
 * @returns the certificate as DER, with a random serial number of 128 bits
 */
export async function writeCertificate(
  fields: CertificateFields,
  authorityKey: KeyObject,
): Promise<Uint8Array> {
  const certificate = await X509CertificateGenerator.create({
    issuer: commonName(fields.issuer),
    subject: commonName(fields.subject),
    notBefore,
    notAfter,
    publicKey: spki(fields.publicKey),
    extensions: [
      ...extensionsFor(fields.use),
      new SubjectKeyIdentifierExtension(keyIdentifier(fields.publicKey)),
      new AuthorityKeyIdentifierExtension(keyIdentifier(createPublicKey(authorityKey))),
    ],
    signingKey: authorityKey.toCryptoKey(ecdsa, false, ["sign"]),
    signingAlgorithm: ecdsa,
  });
  return new Uint8Array(certificate.rawData);
}

function extensionsFor(use: CertificateFields["use"]): Extension[] {
  if (use.kind === "authority") {
    return [
      new BasicConstraintsExtension(true, 0, true), // path length 0: it signs no further authority
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
    ];
  }
  const isServer = use.kind === "server";
  const purpose = isServer ? ExtendedKeyUsage.serverAuth : ExtendedKeyUsage.clientAuth;
  const leaf = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([purpose]),
  ];
  if (!isServer) return leaf;
  const names = use.addresses.map((value) => ({ type: "ip", value }) as const);
  return [...leaf, new SubjectAlternativeNameExtension(names)];
}

function commonName(text: string): JsonName {
  return [{ CN: [text] }]; // a plain string would be parsed as a name of several parts
}

/** 160 bits of the key's sha-256 in hex, RFC 7093 §2 method 1 over the whole SubjectPublicKeyInfo. */
function keyIdentifier(publicKey: KeyObject): string {
  return createHash("sha256").update(spki(publicKey)).digest("hex").slice(0, 40);
}

/** SubjectPublicKeyInfo in DER. */
function spki(publicKey: KeyObject) {
  return publicKey.export({ type: "spki", format: "der" });
}
