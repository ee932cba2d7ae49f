/**
 * Polo: decides what a question is answered with. Pure but for its limits; sockets are in listen.ts.
 *
 * Silence is the answer to everything but a question that is ours to answer: it is counted, and
 * nothing else happens.
 */

import type { Milliseconds } from "#protocol/brand.ts";
import {
  type DiscoveryAnswer,
  type DiscoveryQuestion,
  maxDiscoveryOctets,
  type OfferedService,
  type Params,
  signedText,
} from "#protocol/discovery.ts";
import { createTokenBuckets } from "#protocol/token-bucket.ts";
import { decodeQuestion, encodeMessage } from "./message.ts";
import type { Service } from "./services.ts";

export type DiscoveryOutcome =
  | "answered"
  | "malformed"
  | "other-service"
  | "foreign-source"
  | "too-often";

/** By whose key answers are signed. */
export interface Signer {
  /** First 16 hex digits of the sha-256 of the raw public key. */
  readonly key: string;
  /** ed25519, base64. */
  sign(text: string): string;
  /** Of a node: DER, base64. */
  readonly certificate?: string;
}

/** A datagram, and how it came. */
export interface Heard {
  readonly bytes: Uint8Array;
  /** Address of the sender, without scope. */
  readonly from: string;
  /** Whether the sender is on this link, as far as its address tells. */
  readonly isNear: boolean;
  /** Mesh it was sent to, as an IPv4 group; absent: to our own address. */
  readonly group?: string;
  /** Own address that will answer, without scope. */
  readonly address: string;
}

export interface Responder {
  /** @param now - monotonic */
  hear(
    heard: Heard,
    now: Milliseconds,
  ): {
    readonly outcome: DiscoveryOutcome;
    readonly answer?: Uint8Array;
    /** Milliseconds over which the asker wants answers spread. */
    readonly within?: number;
  };
}

export function createResponder(context: {
  /** Undefined: nothing can be said yet. */
  readonly signer: () => Signer | undefined;
  /** What the host says to `Marco`. */
  readonly host: () => Params;
  /** What is offered at the moment, the first of equal ids first. */
  readonly services: () => readonly Service[];
}): Responder {
  // An asker asks once a second; 48 that start together stay below 100 a second.
  const perSource = createTokenBuckets({ burst: 5, perSecond: 2, sources: 1024 });
  const together = createTokenBuckets({ burst: 200, perSecond: 100, sources: 1 });

  return {
    hear({ bytes, from, isNear, group, address }, now) {
      // The answer is longer than the question: it must not be sent to a forged far address.
      if (!isNear) return { outcome: "foreign-source" };
      const question = decodeQuestion(bytes);
      if (!question) return { outcome: "malformed" };
      const offered = context.services().filter((service) => isIn(service, group));
      const said = whatToSay(question, offered, context.host());
      const signer = context.signer();
      if (!said || !signer) return { outcome: "other-service" };
      if (!perSource.take(from, now) || !together.take("all", now)) return { outcome: "too-often" };
      const answer = signed(question, said, address, signer);
      const { Within: within } = question;
      return { outcome: "answered", answer, ...(within !== undefined && { within }) };
    },
  };
}

type Said = Pick<DiscoveryAnswer, "Command" | "Params" | "Services">;

function isIn({ groups }: Service, group: string | undefined): boolean {
  return group === undefined || groups.length === 0 || groups.includes(group);
}

function whatToSay(
  question: DiscoveryQuestion,
  services: readonly Service[],
  host: Params,
): Said | undefined {
  switch (question.Command) {
    case "Marco":
      return { Command: "Polo", Params: host };
    case "Request-For": {
      const service = services.find(({ id }) => id === question.Params);
      return service && { Command: "OK", Params: service.params };
    }
    case "Services":
      return { Command: "OK", Services: thatFit(services) };
  }
}

/** Octets of an answer that are not its services: nonce, address, key, signature, certificate. */
const frameOctets = 1600;

/** As many as a datagram holds; those at the end without their parameters where these are too long. */
function thatFit(services: readonly Service[]): readonly OfferedService[] {
  const listed: OfferedService[] = [];
  let left = maxDiscoveryOctets - frameOctets;
  for (const { id, params } of services) {
    const fitting = [{ id, params }, { id }].find((one) => sizeOf(one) <= left);
    if (!fitting) break;
    left -= sizeOf(fitting);
    listed.push(fitting);
  }
  return listed;
}

function sizeOf(service: OfferedService): number {
  return new TextEncoder().encode(JSON.stringify(service)).length + 1;
}

function signed(
  question: DiscoveryQuestion,
  said: Said,
  address: string,
  { key, sign, certificate }: Signer,
): Uint8Array {
  return encodeMessage({
    ...said,
    Nonce: question.Nonce,
    Address: address,
    Key: key,
    Signature: sign(signedText(question, { ...said, Address: address })),
    ...(certificate !== undefined && { Certificate: certificate }),
  });
}
