/**
 * DNS messages as multicast DNS uses them (RFC 1035 §4, RFC 6762 §18): what a browser of services
 * asks, and what is answered. Pure. Classes other than IN and record types other than these five
 * are skipped.
 *
 *   0        2        4        6        8        10       12
 *   +--------+--------+--------+--------+--------+--------+-- ... --+
 *   |   id   | flags  | questions, answers, authorities, additionals |
 *   +--------+--------+--------+--------+--------+--------+-- ... --+
 *   question: name, type, class (top bit: a unicast answer will do, §5.4)
 *   record:   name, type, class (top bit: replaces what was cached, §10.2), ttl (4), length, data
 */

/** Labels, without the empty one at the end; a service instance's first label may hold dots. */
export type Name = readonly string[];

export const types = { A: 1, PTR: 12, TXT: 16, AAAA: 28, SRV: 33 } as const;
export type RecordType = keyof typeof types;
/** Any type, any class (RFC 1035 §3.2.3, §3.2.5). */
const any = 255;
const internet = 1;
const topBit = 0x8000;

export type RecordData =
  | { readonly type: "A" | "AAAA"; readonly address: string }
  | { readonly type: "PTR"; readonly target: Name }
  | { readonly type: "SRV"; readonly port: number; readonly target: Name }
  | { readonly type: "TXT"; readonly texts: readonly string[] };

export type DnsRecord = RecordData & {
  readonly name: Name;
  /** Seconds; 0 takes it back. */
  readonly ttl: number;
  /** Nobody else has records of this name and type. */
  readonly isUnique: boolean;
};

export interface Question {
  readonly name: Name;
  readonly type: RecordType | "ANY";
  /** The asker takes a unicast answer. */
  readonly wantsUnicast: boolean;
}

export interface Message {
  readonly id: number;
  readonly isResponse: boolean;
  readonly questions: readonly Question[];
  readonly answers: readonly DnsRecord[];
  /** In a probe: what the prober wants to have (RFC 6762 §8.2). */
  readonly authorities: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
}

const responseFlags = 0x8400; // QR, AA (RFC 6762 §18)
const maxCount = 256;

export function isSameName(a: Name, b: Name): boolean {
  return (
    a.length === b.length && a.every((label, at) => label.toLowerCase() === b[at]?.toLowerCase())
  );
}

/** @returns undefined for what is no DNS message of a query or response */
export function decodeDns(bytes: Uint8Array): Message | undefined {
  try {
    return new Reader(bytes).message();
  } catch (error) {
    if (error instanceof RangeError) return undefined; // it ends too early, or lies about itself
    throw error;
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  message(): Message {
    const [id, flags] = [this.#word(), this.#word()];
    if ((flags & 0x7800) !== 0) throw new RangeError("neither query nor response");
    const counts = [this.#word(), this.#word(), this.#word(), this.#word()] as const;
    if (counts.some((count) => count > maxCount)) throw new RangeError("too many records");
    const [questions, answers, authorities, additionals] = counts;
    return {
      id,
      isResponse: (flags & topBit) !== 0,
      questions: this.#list(questions, () => this.#question()),
      answers: this.#list(answers, () => this.#record()),
      authorities: this.#list(authorities, () => this.#record()),
      additionals: this.#list(additionals, () => this.#record()),
    };
  }

  #list<Item>(count: number, read: () => Item | undefined): readonly Item[] {
    return Array.from({ length: count }, read).filter((item) => item !== undefined);
  }

  #question(): Question | undefined {
    const name = this.#name();
    const [type, kind] = [this.#word(), this.#word()];
    const known = type === any ? "ANY" : typeNamed(type);
    const isOurs = [internet, any].includes(kind & ~topBit);
    return known && isOurs ? { name, type: known, wantsUnicast: (kind & topBit) !== 0 } : undefined;
  }

  #record(): DnsRecord | undefined {
    const name = this.#name();
    const [type, kind] = [this.#word(), this.#word()];
    const ttl = this.#word() * 0x1_0000 + this.#word();
    const length = this.#word();
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new RangeError("record runs past the end");
    const known = typeNamed(type);
    const data = known && (kind & ~topBit) === internet ? this.#data(known, end) : undefined;
    this.#at = end;
    return data && { ...data, name, ttl, isUnique: (kind & topBit) !== 0 };
  }

  #data(type: RecordType, end: number): RecordData | undefined {
    switch (type) {
      case "A":
        return { type, address: this.#octets(4).join(".") };
      case "AAAA": {
        const octets = this.#octets(16);
        const words = [0, 2, 4, 6, 8, 10, 12, 14].map(
          (at) => ((octets[at] ?? 0) << 8) | (octets[at + 1] ?? 0),
        );
        return { type, address: words.map((word) => word.toString(16)).join(":") };
      }
      case "PTR":
        return { type, target: this.#name() };
      case "SRV": {
        this.#octets(4); // priority and weight: there is one of each
        return { type, port: this.#word(), target: this.#name() };
      }
      case "TXT": {
        const texts: string[] = [];
        while (this.#at < end) texts.push(this.#text());
        return { type, texts };
      }
    }
  }

  #word(): number {
    const value = this.#view.getUint16(this.#at); // RangeError past the end
    this.#at += 2;
    return value;
  }

  #octets(count: number): readonly number[] {
    const end = this.#at + count;
    if (end > this.#bytes.length) throw new RangeError("data runs past the end");
    const octets = [...this.#bytes.subarray(this.#at, end)];
    this.#at = end;
    return octets;
  }

  #text(): string {
    const [length = 0] = this.#octets(1);
    return new TextDecoder().decode(Uint8Array.from(this.#octets(length)));
  }

  /** A pointer leads backwards, so that following it ends (RFC 1035 §4.1.4). */
  #name(): Name {
    const labels: string[] = [];
    let behind: number | undefined;
    for (let octets = 0; octets < 256; ) {
      const length = this.#view.getUint8(this.#at);
      if (length >= 0xc0) {
        const target = this.#word() & 0x3fff;
        if (target >= this.#at - 2) throw new RangeError("pointer leads forward");
        behind ??= this.#at;
        this.#at = target;
        octets += 2;
        continue;
      }
      if (length > 63) throw new RangeError("label of an unknown kind");
      const label = this.#text();
      if (length === 0) {
        this.#at = behind ?? this.#at;
        return labels;
      }
      labels.push(label);
      octets += length + 1;
    }
    throw new RangeError("name of more than 255 octets");
  }
}

function typeNamed(code: number): RecordType | undefined {
  return (Object.keys(types) as RecordType[]).find((name) => types[name] === code);
}

/** Without compression: some hundred octets for a server's records. */
export function encodeDns(
  message: Partial<Message> & { readonly isResponse: boolean },
): Uint8Array {
  const { id = 0, isResponse, questions = [], answers = [], authorities = [] } = message;
  const { additionals = [] } = message;
  const sections = [questions, answers, authorities, additionals];
  const head = [id, isResponse ? responseFlags : 0, ...sections.map(({ length }) => length)];
  return Uint8Array.from([
    ...head.flatMap(word),
    ...questions.flatMap(encodeQuestion),
    ...[...answers, ...authorities, ...additionals].flatMap(encodeRecord),
  ]);
}

function encodeQuestion({ name, type, wantsUnicast }: Question): readonly number[] {
  const code = type === "ANY" ? any : types[type];
  return [...encodeName(name), ...word(code), ...word(internet | (wantsUnicast ? topBit : 0))];
}

function encodeRecord(record: DnsRecord): readonly number[] {
  const data = dataOf(record);
  return [
    ...encodeName(record.name),
    ...word(types[record.type]),
    ...word(internet | (record.isUnique ? topBit : 0)),
    ...word(Math.floor(record.ttl / 0x1_0000)),
    ...word(record.ttl & 0xffff),
    ...word(data.length),
    ...data,
  ];
}

/** The record's data alone, for comparing. */
export function encodeData(record: DnsRecord): Uint8Array {
  return Uint8Array.from(dataOf(record));
}

function dataOf(record: DnsRecord): readonly number[] {
  switch (record.type) {
    case "A":
      return record.address.split(".").map(Number);
    case "AAAA":
      return wordsOf(record.address).flatMap(word);
    case "PTR":
      return encodeName(record.target);
    case "SRV":
      return [...word(0), ...word(0), ...word(record.port), ...encodeName(record.target)];
    case "TXT":
      // RFC 6763 §6.1: at least one text, which may be empty
      return (record.texts.length === 0 ? [""] : record.texts).flatMap((text) =>
        encodeText(text, 255),
      );
  }
}

/** The eight words of an IPv6 address; `::` stands for as many zeros as are missing. */
function wordsOf(address: string): readonly number[] {
  const [before = "", after] = address.split("::");
  const words = (text: string) =>
    text === "" ? [] : text.split(":").map((part) => Number.parseInt(part, 16));
  const [left, right] = [words(before), words(after ?? "")];
  const zeros = after === undefined ? 0 : 8 - left.length - right.length;
  return [...left, ...Array<number>(zeros).fill(0), ...right];
}

function encodeName(name: Name): readonly number[] {
  return [...name.flatMap((label) => encodeText(label, 63)), 0];
}

/** Cut at `most` octets, at a character's end. */
function encodeText(text: string, most: number): readonly number[] {
  let kept = text;
  let octets = new TextEncoder().encode(kept);
  while (octets.length > most) {
    kept = [...kept].slice(0, -1).join("");
    octets = new TextEncoder().encode(kept);
  }
  return [octets.length, ...octets];
}

function word(value: number): readonly number[] {
  return [(value >> 8) & 0xff, value & 0xff];
}
