/** Whether an answer is believed: by the key that was pinned, or by a certificate of the site's authority. */

import { type KeyObject, verify, X509Certificate } from "node:crypto";
import { type DiscoveryAnswer, type DiscoveryQuestion, signedText } from "#protocol/discovery.ts";

/** What the asker has to tell friends by. */
export interface Roots {
  /** The site's key. */
  readonly site?: {
    readonly id: string;
    /** Whether `signature` (base64, ed25519) covers `text`. */
    covers(text: string, signature: string): boolean;
  };
  /** PEM; without it no node can be told from a stranger. */
  readonly authority?: string;
}

export type Trust =
  | { readonly by: "server" }
  /** sha-256 of its certificate, in hex. */
  | { readonly by: "node"; readonly nodeId: string; readonly fingerprint: string }
  /** There is no key here to check it by. */
  | { readonly by: "unchecked" }
  | { readonly by: "nobody"; readonly reason: string };

/**
 * Cheap checks come first: a stranger may send ten thousand answers.
 *
 * A node's certificate proves that the site once took the node in; whether it still belongs
 * to it only the server knows.
 */
export function createJudge({ site, authority }: Roots, now: () => number = Date.now) {
  const root = authority === undefined ? undefined : new X509Certificate(authority);
  return (question: DiscoveryQuestion, answer: DiscoveryAnswer): Trust => {
    const text = signedText(question, answer);
    if (answer.Certificate !== undefined) {
      return root ? byNode(text, answer, root, now()) : unknown(answer);
    }
    if (!site) return unknown(answer);
    if (answer.Key !== site.id) {
      const key = JSON.stringify(answer.Key.slice(0, 32));
      return nobody(`it is signed by key ${key}, ours is ${site.id}`);
    }
    return site.covers(text, answer.Signature)
      ? { by: "server" }
      : nobody("its signature is wrong");
  };

  function unknown({ Certificate }: DiscoveryAnswer): Trust {
    if (!site && !root) return { by: "unchecked" };
    return nobody(
      Certificate === undefined ? "no key to check it by" : "nodes are not believed here",
    );
  }
}

function byNode(text: string, answer: DiscoveryAnswer, root: X509Certificate, now: number): Trust {
  const node = nodeOf(answer.Certificate ?? "", root);
  if (!node) return nobody("its certificate is not of this site");
  if (node.until < now) return nobody("its certificate has ended");
  return verify(null, Buffer.from(text), node.key, Buffer.from(answer.Signature, "base64"))
    ? { by: "node", nodeId: node.id, fingerprint: node.fingerprint }
    : nobody("its signature is wrong");
}

interface Certified {
  readonly id: string;
  readonly key: KeyObject;
  readonly until: number;
  readonly fingerprint: string;
}

function nodeOf(certificate: string, root: X509Certificate): Certified | undefined {
  try {
    const given = new X509Certificate(Buffer.from(certificate, "base64"));
    const id = /^CN=(?<id>\S+)$/m.exec(given.subject)?.groups?.["id"];
    const key = given.publicKey;
    if (id === undefined || key.asymmetricKeyType !== "ed25519") return undefined;
    if (!given.verify(root.publicKey)) return undefined;
    const fingerprint = given.fingerprint256.replaceAll(":", "").toLowerCase();
    return { id, key, until: Date.parse(given.validTo), fingerprint };
  } catch {
    return undefined; // no certificate at all
  }
}

function nobody(reason: string): Trust {
  return { by: "nobody", reason };
}
