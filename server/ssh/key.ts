/** The server's own SSH key: nodes that are installed let it in as root. */

import { dirname } from "node:path";
import ssh2 from "ssh2";
import { makePrivateDirectory, readPrivate, writeDurably } from "../store/durable-file.ts";

export interface SshKey {
  /** OpenSSH's own format. */
  readonly privateKey: string;
  /** A line for `authorized_keys`: `ssh-ed25519 AAAA… marcoboot`. */
  readonly publicLine: string;
}

/** Reads the key at `path`, and makes it (ed25519) on the first call. */
export async function openSshKey(path: string): Promise<SshKey> {
  await makePrivateDirectory(dirname(path));
  const stored = await readPrivate(path);
  if (stored !== undefined) return keyOf(stored);
  const made = ssh2.utils.generateKeyPairSync("ed25519", { comment: "marcoboot" });
  await writeDurably(path, made.private, 0o600);
  return keyOf(made.private);
}

function keyOf(privateKey: string): SshKey {
  const parsed = ssh2.utils.parseKey(privateKey);
  if (parsed instanceof Error) throw parsed;
  const blob = parsed.getPublicSSH().toString("base64");
  return { privateKey, publicLine: `${parsed.type} ${blob} marcoboot` };
}
