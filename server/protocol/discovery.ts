/**
 * Discovery on the wire: one UTF-8 JSON object per UDP datagram, at most 4096 octets.
 * Message names are MarcoPolo's. The asker sends to (group, port), by IPv4 and by IPv6;
 * the answer comes back unicast from the answerer's own address, signed.
 *
 *   asker    -> group  {"Command":"Request-For","Params":"marcoboot","Nonce":"<32 hex>"}
 *   answerer -> asker  {"Command":"OK","Params":{…},"Nonce":"<same>","Address":"10.77.0.1",
 *                       "Key":"<key id>","Signature":"<base64>"}
 *
 *   Marco        who is there?             -> Polo, Params: the host's
 *   Request-For  who offers this service?  -> OK, Params: the service's; others stay silent
 *   Services     what do you offer?        -> OK, Services: [{"id":…,"params":{…}}, …]
 *
 * The signature (ed25519) covers `signedText`: the question with its nonce, the address that
 * answers and what it says. So an answer can neither be replayed to another question nor be
 * passed on from another address. The server signs by the site's key; a node by its own, and
 * adds its certificate of the site's authority.
 */

/** Administratively scoped (RFC 2365), so that a snooping switch may prune it. */
export const discoveryGroup = "239.77.65.82";
/** MarcoPolo's port. */
export const discoveryPort = 1337;
export const maxDiscoveryOctets = 4096;
/** Service name the install server answers to. */
export const installService = "marcoboot";
/** Service name of every node with a resident agent. */
export const nodeService = "marcoboot-node";

export type Scalar = string | number | boolean;
export type Params = Readonly<Record<string, Scalar>>;

export type DiscoveryQuestion = {
  /** 128 random bits in hex. */
  readonly Nonce: string;
  /**
   * Milliseconds over which nodes are to spread their answers, so that thousands do not overrun
   * the asker; it may differ from one repetition to the next, and is not signed.
   */
  readonly Within?: number;
} & (
  | { readonly Command: "Marco" | "Services" }
  | {
      readonly Command: "Request-For";
      /** Service asked for. */
      readonly Params: string;
    }
);

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

export interface OfferedService {
  readonly id: string;
  readonly params?: Params;
}

export interface DiscoveryAnswer {
  readonly Command: "OK" | "Polo";
  /** The service's or the host's; absent in the answer to `Services`. */
  readonly Params?: Params;
  /** Only in the answer to `Services`. */
  readonly Services?: readonly OfferedService[];
  readonly Nonce: string;
  /** Where the answer comes from, without scope. */
  readonly Address: string;
  /** First 16 hex digits of the sha-256 of the answerer's raw public key. */
  readonly Key: string;
  readonly Signature: string;
  /** A node's: DER, base64. */
  readonly Certificate?: string;
}

/** The exact text that is signed: domain, and canonical JSON of question and answer. */
export function signedText(
  { Within: _, ...question }: DiscoveryQuestion,
  { Address, Params, Services }: Pick<DiscoveryAnswer, "Address" | "Params" | "Services">,
): string {
  return `marcoboot discovery 2\n${canonicalJson({ question, Address, Params, Services })}`;
}

/** JSON with members sorted by name and no white space: equal values give equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    member !== null && typeof member === "object" && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}

const groupPattern = /^2(2[4-9]|3\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}$/;

/** Whether it names a mesh: an IPv4 multicast address. */
export function isGroup(value: unknown): value is string {
  return typeof value === "string" && groupPattern.test(value);
}

/**
 * The IPv6 twin of an IPv4 group, of link-local scope and not permanently assigned (RFC 4291
 * §2.7, RFC 3307 §4.3): `239.77.65.82` is `ff12::8f4d:4152`.
 */
export function groupOnIpv6(group: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = group.split(".").map(Number);
  const high = 0x8000 | ((a & 0x0f) << 8) | b;
  return `ff12::${high.toString(16)}:${((c << 8) | d).toString(16)}`;
}
