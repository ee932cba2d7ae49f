/**
 * What a message of multicast DNS is answered with (RFC 6762 §6, §7.1, §6.7). Pure but for the
 * memory of what was said within the last second.
 */

import type { Milliseconds } from "#protocol/brand.ts";
import { canonicalJson } from "#protocol/discovery.ts";
import {
  type DnsRecord,
  encodeDns,
  isSameName,
  type Message,
  type Name,
  type Question,
} from "./message.ts";

/** 1500 (Ethernet) - 40 (IPv6) - 8 (UDP). */
const maxOctets = 1452;
/** What an ordinary resolver may keep: it hears no goodbye (RFC 6762 §6.7). */
const legacyTtl = 10;
/** The same record is not sent to the group more often (RFC 6762 §6). */
const oncePer = 1000 as Milliseconds;
export const mdnsPort = 5353;

export interface Reply {
  readonly bytes: Uint8Array;
  readonly to: "group" | "asker";
  /** Others may answer too: wait a little, 20-120 ms (RFC 6762 §6). */
  readonly isShared: boolean;
}

export interface DnsResponder {
  /** @param now - monotonic */
  answer(message: Message, fromPort: number, now: Milliseconds): readonly Reply[];
}

export function createDnsResponder(records: () => readonly DnsRecord[]): DnsResponder {
  const said = new Map<string, Milliseconds>();

  /** Those that were not said within the last second; they are now. */
  const notJustSaid = (wanted: readonly DnsRecord[], now: Milliseconds) => {
    for (const [record, at] of said) if (now - at >= oncePer) said.delete(record);
    const fresh = wanted.filter((record) => !said.has(canonicalJson(record)));
    for (const record of fresh) said.set(canonicalJson(record), now);
    return fresh;
  };

  return {
    answer(message, fromPort, now) {
      const all = records();
      const wanted = wantedBy(message, all);
      if (wanted.length === 0) return [];
      if (fromPort !== mdnsPort) return [legacy(message, wanted, all)];
      const isUnicast = message.questions.every((question) => question.wantsUnicast);
      const answers = isUnicast ? wanted : notJustSaid(wanted, now);
      return responses(answers, besides(answers, all)).map((bytes) => ({
        bytes,
        to: isUnicast ? "asker" : "group",
        isShared: answers.some((one) => !one.isUnique),
      }));
    },
  };
}

function wantedBy(message: Message, all: readonly DnsRecord[]): readonly DnsRecord[] {
  if (message.isResponse) return [];
  return unique(message.questions.flatMap((question) => fitting(all, question))).filter(
    (record) => !isKnown(record, message.answers),
  );
}

function fitting(records: readonly DnsRecord[], { name, type }: Question): readonly DnsRecord[] {
  return records.filter(
    (record) => (type === "ANY" || record.type === type) && isSameName(record.name, name),
  );
}

/** The asker has it already, for at least half its time (RFC 6762 §7.1). */
function isKnown(record: DnsRecord, known: readonly DnsRecord[]): boolean {
  return known.some((one) => one.ttl * 2 >= record.ttl && isSameRecord(one, record));
}

/** Same name, type and data; time to live and the cache bit do not count. */
export function isSameRecord(a: DnsRecord, b: DnsRecord): boolean {
  const plain = ({ ttl: _, isUnique: __, name, ...data }: DnsRecord) =>
    canonicalJson({ ...data, name: name.map((label) => label.toLowerCase()) });
  return plain(a) === plain(b);
}

/** What the asker will want to know next (RFC 6763 §12). */
function besides(answers: readonly DnsRecord[], all: readonly DnsRecord[]): readonly DnsRecord[] {
  const named = (name: Name) => all.filter((one) => isSameName(one.name, name));
  const next = (records: readonly DnsRecord[]) =>
    records.flatMap((one) => (one.type === "PTR" || one.type === "SRV" ? named(one.target) : []));
  const first = next(answers);
  return unique([...first, ...next(first)]).filter((one) => one.isUnique && !answers.includes(one));
}

/** To an ordinary resolver: its id and question back, no cache bit, short-lived. */
function legacy(message: Message, wanted: readonly DnsRecord[], all: readonly DnsRecord[]): Reply {
  const plain = (record: DnsRecord) => ({
    ...record,
    isUnique: false,
    ttl: Math.min(record.ttl, legacyTtl),
  });
  const { id, questions } = message;
  const asked = questions.map((question) => ({ ...question, wantsUnicast: false }));
  const answers = wanted.map(plain);
  const whole = encodeDns({
    id,
    isResponse: true,
    questions: asked,
    answers,
    additionals: besides(wanted, all).map(plain),
  });
  const bytes =
    whole.length <= maxOctets
      ? whole
      : encodeDns({ id, isResponse: true, questions: asked, answers });
  return { bytes, to: "asker", isShared: false };
}

/** One message, or as many as are needed; what is only additional is left out of too long a one. */
export function responses(
  answers: readonly DnsRecord[],
  additionals: readonly DnsRecord[] = [],
): readonly Uint8Array[] {
  if (answers.length === 0) return [];
  const whole = encodeDns({ isResponse: true, answers, additionals });
  if (whole.length <= maxOctets) return [whole];
  if (additionals.length > 0) return responses(answers);
  if (answers.length === 1) return [];
  const half = answers.length >> 1;
  return [...responses(answers.slice(0, half)), ...responses(answers.slice(half))];
}

function unique(records: readonly DnsRecord[]): readonly DnsRecord[] {
  return [...new Set(records)];
}
