/**
 * The site's two keys and what they vouch for.
 *
 *   signing.key    ed25519: discovery answers, assignments, image manifests.
 *                  Its public half is pinned in every initramfs.
 *   authority.key  ECDSA P-256: certificates of the agent listener and of nodes.
 *   authority.crt  the authority's own certificate; agents get it, signed by
 *                  the first key, in the discovery answer.
 *
 * A listener's key lives only as long as the process: agents trust the
 * authority, so a new one at each start costs them nothing.
 */

import {
  createHash,
  createHmac,
  createPublicKey,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  sign,
} from "node:crypto";
import { join } from "node:path";
import type { Ipv4Address, NodeId } from "#protocol/brand.ts";
import { makePrivateDirectory, readPrivate, writeDurably } from "../store/durable-file.ts";
import { parseNodeKey, privateKeyAt } from "./keys.ts";
import { type CertificateFields, writeCertificate } from "./x509.ts";

export interface Site {
  /** Raw 32-octet ed25519 public key, base64: what nodes are given to pin. */
  readonly serverKey: string;
  /** First 16 hex digits of the sha-256 of the raw key: a hint in messages. */
  readonly keyId: string;
  /** ed25519, base64. The caller passes a text with its own domain line (protocol/*.ts). */
  sign(text: string): string;
  /** 32 octets that nobody else can make, the same for the same purpose as long as the site lives. */
  secret(purpose: string): Buffer;
  /** Certificate of the site's authority. */
  readonly authorityPem: string;
  /** Key and certificate of a TLS server reached by these addresses; the same while they are. */
  serverTls(addresses: readonly Ipv4Address[]): Promise<{ key: string; cert: string }>;
  /**
   * Client certificate with the node's id as its common name. It stands until the
   * node's record names another fingerprint; its dates decide nothing.
   *
   * @param publicKeyPem - SubjectPublicKeyInfo of an ed25519 key
   * @returns the sha-256 of the DER as `fingerprint`, in hex
   * @throws InvalidInputError when `publicKeyPem` is anything else
   */
  issueNodeCertificate(
    nodeId: NodeId,
    publicKeyPem: string,
  ): Promise<{ pem: string; fingerprint: string }>;
}

/** Opens the site whose keys are in `directory`, and founds it on the first call. */
export async function openSite(directory: string): Promise<Site> {
  await makePrivateDirectory(directory);
  const signingKey = await privateKeyAt(join(directory, "signing.key"), "ed25519");
  const authorityKey = await privateKeyAt(join(directory, "authority.key"), "p-256");
  const raw = rawPublicKey(signingKey);
  const keyId = sha256(raw).slice(0, 16);
  const seed = signingKey.export({ type: "pkcs8", format: "der" });
  const root = Buffer.from(hkdfSync("sha256", seed, "", "marcoboot secrets 1", 32));
  const issue = issuer(`marcoboot site ${keyId}`, authorityKey);
  const authorityPem = await authorityAt(join(directory, "authority.crt"), () =>
    issue.authority(createPublicKey(authorityKey)),
  );
  const listeners = new Map<string, Promise<{ key: string; cert: string }>>();

  async function listenerTls(addresses: readonly Ipv4Address[]) {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    return {
      key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      cert: toPem(await issue.server(publicKey, addresses)),
    };
  }

  return {
    serverKey: raw.toString("base64"),
    keyId,
    authorityPem,
    secret: (purpose) => createHmac("sha256", root).update(purpose).digest(),
    sign: (text) => sign(null, Buffer.from(text), signingKey).toString("base64"),
    serverTls(addresses) {
      const wanted = [...addresses].sort().join(" ");
      const made = listeners.get(wanted) ?? listenerTls(addresses);
      listeners.set(wanted, made);
      return made;
    },
    async issueNodeCertificate(nodeId, publicKeyPem) {
      const der = await issue.node(parseNodeKey(publicKeyPem), nodeId);
      return { pem: toPem(der), fingerprint: sha256(der) };
    },
  };
}

async function authorityAt(path: string, issue: () => Promise<Uint8Array>): Promise<string> {
  const stored = await readPrivate(path);
  if (stored !== undefined) return stored;
  const pem = toPem(await issue());
  await writeDurably(path, pem, 0o600);
  return pem;
}

function issuer(name: string, key: KeyObject) {
  const write = (subject: string, publicKey: KeyObject, use: CertificateFields["use"]) =>
    writeCertificate({ issuer: name, subject, publicKey, use }, key);
  return {
    authority: (publicKey: KeyObject) => write(name, publicKey, { kind: "authority" }),
    server: (publicKey: KeyObject, addresses: readonly Ipv4Address[]) =>
      write("marcoboot server", publicKey, { kind: "server", addresses }),
    node: (publicKey: KeyObject, nodeId: NodeId) => write(nodeId, publicKey, { kind: "node" }),
  };
}

function rawPublicKey(privateKey: KeyObject): Buffer {
  const { x } = createPublicKey(privateKey).export({ format: "jwk" });
  return Buffer.from(x ?? "", "base64url");
}

function toPem(der: Uint8Array): string {
  const lines = Buffer.from(der).toString("base64").replace(/.{64}/g, "$&\n").trimEnd();
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
