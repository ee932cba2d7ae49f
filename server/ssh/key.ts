/** The server's own SSH key: nodes that are installed let it in as root. */

import { dirname } from "node:path";
import ssh2 from "ssh2";
import { ConfigurationError } from "../errors.ts";
import { makePrivateDirectory, readPrivate, writeDurably } from "../store/durable-file.ts";

export interface SshKey {
  /** OpenSSH's own format. */
  readonly privateKey: string;
  /** A line for `authorized_keys`: `ssh-ed25519 AAAA… marcoboot`. */
  readonly publicLine: string;
}

/**
 * Reads the key at `path`, and makes it (ed25519) on the first call.
 *
 * @throws ConfigurationError when what is there is no key
 */
export async function openSshKey(path: string): Promise<SshKey> {
  await makePrivateDirectory(dirname(path));
  const stored = await readPrivate(path);
  if (stored !== undefined) {
    const key = keyOf(stored);
    if (key) return key;
    throw new ConfigurationError(`${path} is no SSH key: put it back, or remove it for a new one`);
  }
  const key = makeKey();
  await writeDurably(path, key.privateKey, 0o600);
  return key;
}

/** ssh2 1.17.0 writes one ed25519 key in 190 a byte short (a zero in front is lost): nobody reads that. */
function makeKey(): SshKey {
  for (;;) {
    const made = ssh2.utils.generateKeyPairSync("ed25519", { comment: "marcoboot" });
    const key = keyOf(made.private);
    if (key) return key;
  }
}

function keyOf(privateKey: string): SshKey | undefined {
  const parsed = ssh2.utils.parseKey(privateKey);
  if (parsed instanceof Error) return undefined;
  const blob = parsed.getPublicSSH().toString("base64");
  return { privateKey, publicLine: `${parsed.type} ${blob} marcoboot` };
}
