/** Keys: the site's, in files made once, private to the server, whole or absent; and those nodes send. */

import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from "node:crypto";
import { ConfigurationError, InvalidInputError } from "../errors.ts";
import { readPrivate, writeDurably } from "../store/durable-file.ts";

/**
 * Reads the private key (PKCS #8, PEM) at `path`, or makes it there first.
 *
 * @throws ConfigurationError when the file holds no key of that kind: a new key
 *   in its place would silently lock out every enrolled node.
 */
export async function privateKeyAt(path: string, kind: "ed25519" | "p-256"): Promise<KeyObject> {
  const stored = await readPrivate(path);
  if (stored !== undefined) return parseKey(stored, path, kind);
  const { privateKey } =
    kind === "ed25519"
      ? generateKeyPairSync("ed25519")
      : generateKeyPairSync("ec", { namedCurve: "P-256" });
  await writeDurably(path, privateKey.export({ type: "pkcs8", format: "pem" }).toString(), 0o600);
  return privateKey;
}

/**
 * Reads the public key of a node.
 *
 * @param pem - SubjectPublicKeyInfo
 * @throws InvalidInputError when it is no ed25519 key
 */
export function parseNodeKey(pem: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: pem, format: "pem", type: "spki" });
  } catch (cause) {
    throw refusedKey("not a public key in PEM", { cause });
  }
  if (key.asymmetricKeyType === "ed25519") return key;
  throw refusedKey(`a key of type ${key.asymmetricKeyType}, not ed25519`);
}

function refusedKey(detail: string, options?: ErrorOptions): InvalidInputError {
  return new InvalidInputError(
    `public key refused: ${detail}`,
    [{ pointer: "/publicKey", detail }],
    options,
  );
}

/** Without those that look alike: 32 letters, 5 bits each. */
const codeLetters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/**
 * Eight letters by which a person tells one key from another, on a node's console and here:
 * `4F2K-9QX1`. 40 bits: whoever wants a key with the code of another one tries 10^12 keys,
 * and has the minutes until the approval ends.
 *
 * @throws InvalidInputError as {@link parseNodeKey} does
 */
export function codeOfKey(publicKeyPem: string): string {
  const der = parseNodeKey(publicKeyPem).export({ type: "spki", format: "der" });
  const letters = createHash("sha256")
    .update(der)
    .digest()
    .subarray(0, 8)
    .reduce((text, octet) => text + codeLetters.charAt(octet & 31), "");
  return `${letters.slice(0, 4)}-${letters.slice(4)}`;
}

function parseKey(pem: string, path: string, kind: "ed25519" | "p-256"): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new ConfigurationError(`${path} holds no private key: restore it from a backup`, {
      cause,
    });
  }
  const wanted = kind === "ed25519" ? "ed25519" : "ec";
  if (key.asymmetricKeyType === wanted) return key;
  throw new ConfigurationError(
    `${path} holds a key of type ${key.asymmetricKeyType}, not ${kind}: restore it from a backup`,
  );
}
