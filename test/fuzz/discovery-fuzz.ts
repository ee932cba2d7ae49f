/**
 * Hostile discovery and multicast DNS, in process: good datagrams, damaged, go to an answerer, to
 * an asker and to the announcer; what leaves, and what is believed, is looked at.
 *
 * The generator is seeded: the same seed makes the same datagrams.
 */

import { milliseconds } from "#protocol/brand.ts";
import { maxDiscoveryOctets, signedText } from "#protocol/discovery.ts";
import { pinKey } from "../../netinst/trust.ts";
import { decodeDns, encodeDns } from "../../server/discovery/shared/dns-sd/message.ts";
import { recordsOf } from "../../server/discovery/shared/dns-sd/records.ts";
import { createDnsResponder, mdnsPort } from "../../server/discovery/shared/dns-sd/responder.ts";
import { encodeMessage } from "../../server/discovery/shared/message.ts";
import { createQuery } from "../../server/discovery/shared/query.ts";
import { createResponder } from "../../server/discovery/shared/responder.ts";
import { createJudge } from "../../server/discovery/shared/trust.ts";
import { makeKey } from "../netinst/support.ts";
import { createRandom, type Random } from "../support/random.ts";

export interface DiscoveryFuzzReport {
  readonly tried: number;
  /** Datagrams that were still understood, by role. */
  readonly understood: Readonly<Record<string, number>>;
  /** What must not happen, with the datagram in hexadecimal digits. */
  readonly faults: readonly string[];
}

const maxFaults = 10;
const nonce = "00112233445566778899aabbccddeeff";
const services = [{ id: "deployer", params: { port: 1342, arch: "arm64" }, groups: [] }];
const host = { name: "server", label: "server-1f3a", addresses: ["10.77.0.1", "fe80::1"] };
const records = recordsOf(services, host);

export function fuzzDiscovery(options: {
  readonly seed: number;
  readonly datagrams: number;
}): DiscoveryFuzzReport {
  const random = createRandom(options.seed);
  const understood = { answerer: 0, asker: 0, announcer: 0 };
  const faults: string[] = [];
  const roles = [createAnswerer(), createAsker(), createAnnouncer()] as const;
  for (let tried = 0; tried < options.datagrams && faults.length < maxFaults; tried++) {
    const role = roles[tried % roles.length] as (typeof roles)[number];
    const bytes = damaged(role.good, random);
    try {
      const fault = role.hear(bytes, tried);
      if (fault === true) understood[role.name]++;
      else if (fault !== undefined) faults.push(`${fault}: ${Buffer.from(bytes).toString("hex")}`);
    } catch (error) {
      faults.push(`${String(error)}: ${Buffer.from(bytes).toString("hex")}`);
    }
  }
  return { tried: options.datagrams, understood, faults };
}

interface Role {
  readonly name: "answerer" | "asker" | "announcer";
  readonly good: readonly Uint8Array[];
  /** True: it was understood; a text: what is wrong. */
  hear(bytes: Uint8Array, tried: number): true | string | undefined;
}

function createAnswerer(): Role {
  const key = makeKey();
  const responder = createResponder({
    signer: () => ({ key: key.id, sign: () => "A".repeat(88) }),
    host: () => ({ hostname: "server" }),
    services: () => services,
  });
  return {
    name: "answerer",
    good: [
      encodeMessage({ Command: "Marco", Nonce: nonce, Within: 1200 }),
      encodeMessage({ Command: "Services", Nonce: nonce }),
      encodeMessage({ Command: "Request-For", Params: "deployer", Nonce: nonce }),
    ],
    hear(bytes, tried) {
      const isNear = tried % 2 === 0;
      const heard = { bytes, from: `10.77.0.${tried % 250}`, isNear, address: "10.77.0.1" };
      const { answer, within } = responder.hear(heard, milliseconds(tried * 100));
      if (!answer) return undefined;
      if (!isNear) return "an answer leaves the link";
      if (answer.length > maxDiscoveryOctets) return `an answer of ${answer.length} octets`;
      return within !== undefined && within > 60_000 ? `answers within ${within} ms` : true;
    },
  };
}

function createAsker(): Role {
  const key = makeKey();
  const judge = createJudge({ site: pinKey(key.pinned) });
  const question = { Command: "Request-For", Params: "deployer", Nonce: nonce } as const;
  const said = { Address: "10.77.0.1", Params: { port: 1342, arch: "arm64" } };
  const answer = {
    ...said,
    Command: "OK",
    Nonce: nonce,
    Key: key.id,
    Signature: key.sign(signedText(question, said)),
  } as const;
  return {
    name: "asker",
    good: [encodeMessage(answer)],
    hear(bytes) {
      const query = createQuery({ service: "deployer" }, nonce, judge);
      const heard = query.hear(bytes, "10.77.0.1");
      const [found] = query.found();
      if (found && JSON.stringify(found.params) !== JSON.stringify(said.Params)) {
        return "other words are believed";
      }
      return heard && true;
    },
  };
}

function createAnnouncer(): Role {
  const responder = createDnsResponder(() => records);
  return {
    name: "announcer",
    good: [
      encodeDns({ isResponse: true, answers: records }),
      ...records.map(({ name, type }) =>
        encodeDns({
          isResponse: false,
          questions: [{ name, type, wantsUnicast: false }],
          answers: records.slice(0, 1),
        }),
      ),
    ],
    hear(bytes, tried) {
      const message = decodeDns(bytes);
      if (!message) return undefined;
      const port = tried % 2 === 0 ? mdnsPort : 40_000;
      const replies = responder.answer(message, port, milliseconds(tried * 10));
      const long = replies.find((reply) => reply.bytes.length > 1452);
      if (long) return `a reply of ${long.bytes.length} octets`;
      return replies.some((reply) => !decodeDns(reply.bytes)) ? "a reply nobody can read" : true;
    },
  };
}

function damaged(good: readonly Uint8Array[], random: Random): Uint8Array {
  const bytes = Uint8Array.from(good[random.below(good.length)] ?? []);
  for (let changes = random.below(4); changes > 0; changes--) {
    bytes[random.below(bytes.length)] = random.below(256);
  }
  return random.below(8) === 0 ? bytes.subarray(0, random.below(bytes.length)) : bytes;
}
