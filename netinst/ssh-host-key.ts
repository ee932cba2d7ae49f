/**
 * An ed25519 host key as OpenSSH stores it (PROTOCOL.key of OpenSSH, RFC 8709 for the public half):
 * made before the first boot, so that its fingerprint reaches the server over a trusted way.
 */

import { createHash, generateKeyPairSync, randomBytes } from "node:crypto";

export interface SshHostKey {
  /** `-----BEGIN OPENSSH PRIVATE KEY-----`, not encrypted. */
  readonly privateFile: string;
  /** `ssh-ed25519 AAAA… comment`. */
  readonly publicFile: string;
  /** `SHA256:…` as ssh shows it. */
  readonly fingerprint: string;
}

export function makeSshHostKey(comment: string): SshHostKey {
  const jwk = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  const seed = Buffer.from(jwk.d ?? "", "base64url");
  const point = Buffer.from(jwk.x ?? "", "base64url");
  const type = "ssh-ed25519";
  const publicBlob = Buffer.concat([text(type), text(point)]);
  const check = randomBytes(4);
  const secret = Buffer.concat([
    check,
    check, // twice: how a reader knows that it decrypted well
    text(type),
    text(point),
    text(Buffer.concat([seed, point])),
    text(comment),
  ]);
  const padding = Buffer.from([1, 2, 3, 4, 5, 6, 7].slice(0, (8 - (secret.length % 8)) % 8));
  const file = Buffer.concat([
    Buffer.from("openssh-key-v1\0", "latin1"),
    text("none"), // cipher
    text("none"), // key derivation
    text(""),
    uint32(1), // keys in the file
    text(publicBlob),
    text(Buffer.concat([secret, padding])),
  ]);
  const lines = file.toString("base64").match(/.{1,70}/g) ?? [];
  const digest = createHash("sha256").update(publicBlob).digest("base64").replace(/=+$/, "");
  return {
    privateFile: `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines.join("\n")}\n-----END OPENSSH PRIVATE KEY-----\n`,
    publicFile: `${type} ${publicBlob.toString("base64")} ${comment}\n`,
    fingerprint: `SHA256:${digest}`,
  };
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A string of RFC 4251 §5: length, then octets. */
function text(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint32(bytes.length), bytes]);
}
