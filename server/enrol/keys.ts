/** Key files of the site: made once, private to the server, whole or absent. */

import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import { ConfigurationError } from "../errors.ts";
import { writeDurably } from "../store/durable-file.ts";

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

/** The file's text, its mode put back to 0600 if somebody widened it; undefined when there is none. */
export async function readPrivate(path: string): Promise<string | undefined> {
  try {
    await using file = await open(path, "r");
    const { mode } = await file.stat();
    if ((mode & 0o077) !== 0) await file.chmod(0o600);
    return await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
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
