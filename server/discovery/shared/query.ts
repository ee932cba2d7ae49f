/**
 * Marco: one question, and what was answered to it. Pure: no socket, no time; ask.ts has those.
 *
 *   `params`    keeps who offers every given pair
 *   `exclude`   drops addresses, whatever port they answer from
 *   `maxNodes`  ends the question early
 *
 * Each answerer is listed once, however often and on however many addresses it answers.
 */

import type {
  DiscoveryAnswer,
  DiscoveryQuestion,
  OfferedService,
  Params,
} from "#protocol/discovery.ts";
import { decodeAnswer } from "./message.ts";
import type { Trust } from "./trust.ts";

export interface Wanted {
  /** Absent: whoever is there. */
  readonly service?: string;
  /** What they offer, instead of who offers it. */
  readonly services?: boolean;
  readonly params?: Readonly<Record<string, string>>;
  readonly exclude?: readonly string[];
  readonly maxNodes?: number;
}

export interface Answerer {
  /** In the order they answered; IPv4 addresses first. */
  readonly addresses: readonly string[];
  readonly key: string;
  readonly trust: Trust;
  readonly params: Params;
  readonly services?: readonly OfferedService[];
}

export interface Query {
  readonly question: DiscoveryQuestion;
  /**
   * @param from - where the datagram came from, without scope
   * @returns what is known of its sender now; undefined when it is no answer to this question, or not wanted
   */
  hear(bytes: Uint8Array, from: string): Answerer | undefined;
  /** Whom we believe, or cannot check; in the order they answered. */
  found(): readonly Answerer[];
  /** Whom we do not believe; at most 256 are kept. */
  refused(): readonly Answerer[];
  /** As many were found as were wanted. */
  isComplete(): boolean;
}

/** Answers of strangers are kept to be shown, not to fill the memory. */
const maxRefused = 256;
/** Nodes of a segment; a flood of unchecked answers ends here. */
const maxFound = 16_384;

export function createQuery(
  wanted: Wanted,
  nonce: string,
  judge: (question: DiscoveryQuestion, answer: DiscoveryAnswer) => Trust,
): Query {
  const question = questionOf(wanted, nonce);
  const found = new Map<string, Answerer>();
  const refused = new Map<string, Answerer>();
  const excluded = new Set(wanted.exclude);
  /** Who answered from an excluded address: the same node has others. */
  const excludedNames = new Set<string>();
  const pairs = Object.entries(wanted.params ?? {});

  const keep = (into: Map<string, Answerer>, most: number, name: string, one: Answerer) => {
    const before = into.get(name);
    if (!before && into.size >= most) return one;
    const addresses = [...new Set([...(before?.addresses ?? []), ...one.addresses])];
    const merged = { ...one, addresses: addresses.sort(ipv4First) };
    into.set(name, merged);
    return merged;
  };

  /** Who answers each repetition says the same, and is checked once. Only who was believed: what a stranger sends must not stand for another's answer. */
  const believed = new Map<string, Answerer>();

  const isWanted = (params: Params) =>
    pairs.every(([name, value]) => String(params[name]) === value);

  const add = (one: Answerer, from: string) => {
    const name = nameOf(one.trust) ?? from;
    if (excluded.has(from)) {
      excludedNames.add(name);
      found.delete(name);
    }
    return excludedNames.has(name) ? undefined : keep(found, maxFound, name, one);
  };

  const judgedAs = (answer: DiscoveryAnswer, from: string) => {
    const one: Answerer = {
      addresses: [from],
      key: answer.Key,
      trust: trustIn(answer, from),
      params: answer.Params ?? {},
      ...(answer.Services && { services: answer.Services }),
    };
    if (!isWanted(one.params)) return undefined;
    if (one.trust.by !== "nobody") return add(one, from);
    return keep(refused, maxRefused, `${from} ${answer.Key}`, one);
  };

  return {
    question,
    hear(bytes, from) {
      const answer = decodeAnswer(bytes);
      // The nonce comes first: a late answer to an older question is no attack.
      if (!answer || answer.Nonce !== nonce || !isKind(question, answer)) return undefined;
      const said = `${from} ${new TextDecoder().decode(bytes)}`;
      const before = believed.get(said);
      if (before) return before;
      const answerer = judgedAs(answer, from);
      if (answerer && answerer.trust.by !== "nobody" && believed.size < maxFound) {
        believed.set(said, answerer);
      }
      return answerer;
    },
    found: () => [...found.values()],
    refused: () => [...refused.values()],
    isComplete: () => wanted.maxNodes !== undefined && found.size >= wanted.maxNodes,
  };

  function trustIn(answer: DiscoveryAnswer, from: string): Trust {
    if (answer.Address === from) return judge(question, answer);
    const claimed = JSON.stringify(answer.Address.slice(0, 45));
    return { by: "nobody", reason: `it calls itself ${claimed}` };
  }
}

/** Whom we know is one, whatever address it answers from; the address tells the others apart. */
function nameOf(trust: Trust): string | undefined {
  if (trust.by === "server") return trust.by;
  return trust.by === "node" ? trust.nodeId : undefined;
}

function questionOf({ service, services }: Wanted, nonce: string): DiscoveryQuestion {
  if (service !== undefined) return { Command: "Request-For", Params: service, Nonce: nonce };
  return { Command: services ? "Services" : "Marco", Nonce: nonce };
}

/** `Polo` answers `Marco`, `OK` the others; a list of services only whoever asked for one. */
function isKind({ Command }: DiscoveryQuestion, answer: DiscoveryAnswer): boolean {
  const isList = answer.Services !== undefined;
  return (
    (Command === "Marco") === (answer.Command === "Polo") && (Command === "Services") === isList
  );
}

function ipv4First(a: string, b: string): number {
  return Number(a.includes(":")) - Number(b.includes(":"));
}
