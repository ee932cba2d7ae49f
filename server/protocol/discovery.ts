/**
 * Discovery on the wire: one UTF-8 JSON object per UDP datagram, at most 4096 octets.
 * Message names are MarcoPolo's. The asker sends to (group, port); the answer
 * comes back unicast from the server's own address, signed.
 *
 *   agent  -> group   {"Command":"Request-For","Params":"marcoboot","Nonce":"<32 hex>"}
 *   server -> agent   {"Command":"OK","Params":{…},"Nonce":"<same>","Key":"<key id>","Signature":"<base64>"}
 *
 * The signature (ed25519) covers `signedText(params, nonce)`, so an answer
 * cannot be replayed to another question.
 */

/** Administratively scoped (RFC 2365), so that a snooping switch may prune it. */
export const discoveryGroup = "239.77.65.82";
/** MarcoPolo's port. */
export const discoveryPort = 1337;
export const maxDiscoveryOctets = 4096;
/** Service name the install server answers to. */
export const installService = "marcoboot";

export interface DiscoveryQuestion {
  readonly Command: "Marco" | "Request-For";
  /** Service asked for; absent in `Marco`. */
  readonly Params?: string;
  /** 128 random bits in hex. */
  readonly Nonce: string;
}

/** What the install server says about itself. */
export interface ServerParams {
  /** `https://10.77.0.1:8443`, the agent listener. */
  readonly url: string;
  /** `http://10.77.0.1:8080`, the boot listener. */
  readonly bootUrl: string;
  readonly hostname: string;
  /** Certificate of the site's authority, PEM: the only root the agent trusts for `url`. */
  readonly authority: string;
}

export interface DiscoveryAnswer {
  readonly Command: "OK" | "Polo";
  readonly Params: ServerParams;
  readonly Nonce: string;
  /** First 16 hex digits of the sha-256 of the server's raw public key: a hint, never trusted. */
  readonly Key: string;
  readonly Signature: string;
}

/** The exact text that is signed: domain, nonce and canonical JSON of the parameters. */
export function signedText(params: ServerParams, nonce: string): string {
  return `marcoboot discovery 1\n${nonce}\n${canonicalJson(params)}`;
}

/** JSON with members sorted by name and no white space: equal values give equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    member !== null && typeof member === "object" && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}
