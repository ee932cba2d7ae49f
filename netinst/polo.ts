/**
 * The resident agent's part in discovery: it answers for this node, and for the services whose
 * files are in /etc/marcoboot/services, signed by the node's own key. It does so whether or not
 * the server is there.
 */

import { createHash, createPrivateKey, createPublicKey, sign, X509Certificate } from "node:crypto";
import { renameSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import type { Milliseconds } from "#protocol/brand.ts";
import { nodeService } from "#protocol/discovery.ts";
import { keepListening } from "../server/discovery/shared/listen.ts";
import { createResponder, type Signer } from "../server/discovery/shared/responder.ts";
import {
  type Service,
  type ServiceFiles,
  watchServices,
} from "../server/discovery/shared/services.ts";
import { linksOf } from "../server/discovery/shared/sockets.ts";
import type { ClientCredential } from "./connection.ts";
import type { Console } from "./console.ts";
import { loadIdentity } from "./enrol.ts";
import { reasonOf } from "./errors.ts";
import { readText, type Settings } from "./settings.ts";

export interface Polo {
  /** Reads the service files again. */
  reload(): void;
  close(): Promise<void>;
}

const servicesDefault = "/etc/marcoboot/services";

export function startPolo(
  settings: Pick<
    Settings,
    "identityDirectory" | "interface" | "address" | "servicesDirectory" | "site"
  >,
  console: Console,
): Polo {
  const { identityDirectory, site, servicesDirectory = servicesDefault } = settings;
  const own = (): Service => ({ id: nodeService, params: host(), groups: [] });
  const files = watchServices(servicesDirectory, (found) => tell(found, console));
  const said = new Set<string>();
  const listening = keepListening({
    responder: createResponder({
      signer: signerOf(identityDirectory),
      host,
      services: () => [own(), ...files.current()],
    }),
    links: () => linksOf(settings.interface, settings.address),
    groups: () => [
      ...new Set([site.discovery.group, ...files.current().flatMap(({ groups }) => groups)]),
    ],
    port: site.discovery.port,
    monotonic: () => performance.now() as Milliseconds,
    every: (period, work) => {
      const timer = setInterval(work, period).unref();
      return () => clearInterval(timer);
    },
    isOneOfMany: true,
    onTrouble({ address }, error) {
      const line = `no discovery on ${address}: ${reasonOf(error)}`;
      if (!said.has(line)) console.warn(line); // it is tried again and again
      said.add(line);
    },
  });
  return {
    reload: () => files.reload(),
    async close() {
      files.close();
      await listening.close();
    },
  };
}

function host() {
  return { hostname: hostname(), role: "node" } as const;
}

function tell({ services, problems }: ServiceFiles, console: Console): void {
  for (const problem of problems) console.warn(`service left out: ${problem}`);
  if (services.length > 0) {
    console.info(`services offered: ${services.map(({ id }) => id).join(", ")}`);
  }
}

/** The identity is replaced when its certificate is renewed: it is read for each answer. */
function signerOf(directory: string): () => Signer | undefined {
  let last: { readonly certificate: string; readonly signer: Signer } | undefined;
  return () => {
    const identity = loadIdentity(directory);
    if (identity && last?.certificate !== identity.certificate) {
      last = { certificate: identity.certificate, signer: signerBy(identity) };
    }
    return last?.signer;
  };
}

export function signerBy({ key, certificate }: ClientCredential): Signer {
  const privateKey = createPrivateKey(key);
  const { x } = createPublicKey(privateKey).export({ format: "jwk" });
  const raw = Buffer.from(x ?? "", "base64url");
  return {
    key: createHash("sha256").update(raw).digest("hex").slice(0, 16),
    certificate: new X509Certificate(certificate).raw.toString("base64"),
    sign: (text) => sign(null, Buffer.from(text), privateKey).toString("base64"),
  };
}

/** By what other nodes' answers are checked on this one (`discover`); it came signed by the pinned key. */
export function keepAuthority(directory: string, authority: string, console: Console): void {
  const path = authorityFile(directory);
  if (readText(path) === authority) return;
  try {
    writeFileSync(`${path}.new`, authority);
    renameSync(`${path}.new`, path);
  } catch (error) {
    console.warn(`${path} cannot be written: ${reasonOf(error)}`);
  }
}

export function authorityFile(directory: string): string {
  return `${directory}/authority.crt`;
}
