/** A site with its keys, a node it took in, and what both send. */

import { generateKeyPairSync, sign } from "node:crypto";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import type { NodeId } from "#protocol/brand.ts";
import {
  type DiscoveryAnswer,
  type DiscoveryQuestion,
  type Params,
  signedText,
} from "#protocol/discovery.ts";
import { type PinnedKey, pinKey } from "../../netinst/trust.ts";
import type { Signer } from "../../server/discovery/shared/responder.ts";
import { openSite, type Site } from "../../server/enrol/authority.ts";
import { temporaryDirectory } from "../support/temporary.ts";

export const nonce = "00112233445566778899aabbccddeeff";

export function bytesOf(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

export interface TestSite {
  readonly site: Site;
  readonly key: PinnedKey;
  readonly signer: Signer;
  /** A node with a certificate of this site. */
  node(id: string): Promise<Signer>;
}

export async function makeSite(t: ExecutionContext, name = "keys"): Promise<TestSite> {
  const site = await openSite(join(temporaryDirectory(t), name));
  return {
    site,
    key: pinKey(site.serverKey),
    signer: { key: site.keyId, sign: (text) => site.sign(text) },
    async node(id) {
      const { publicKey, privateKey } = generateKeyPairSync("ed25519");
      const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
      const { pem: certificate, fingerprint } = await site.issueNodeCertificate(id as NodeId, pem);
      return {
        key: fingerprint.slice(0, 16),
        certificate: certificate.replaceAll(/-----.*-----|\n/g, ""),
        sign: (text) => sign(null, Buffer.from(text), privateKey).toString("base64"),
      };
    },
  };
}

/** An answer as an honest answerer at `address` makes it; `change` is what a dishonest one alters afterwards. */
export function answerBy(
  { key, sign: signText, certificate }: Signer,
  question: DiscoveryQuestion,
  address: string,
  params: Params,
  change: Partial<DiscoveryAnswer> = {},
): Uint8Array {
  const said = { Params: params, Address: address };
  const answer: DiscoveryAnswer = {
    Command: question.Command === "Marco" ? "Polo" : "OK",
    ...said,
    Nonce: question.Nonce,
    Key: key,
    Signature: signText(signedText(question, said)),
    ...(certificate !== undefined && { Certificate: certificate }),
    ...change,
  };
  return bytesOf(answer);
}
