/**
 * YAML as people write it, read member by member: every complaint names the line.
 * Knows nothing of racks.
 */

import {
  type Document,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type YAMLMap,
} from "yaml";
import { RackFileError } from "../errors.ts";

const maxOctets = 1024 * 1024;

/** Where something was first said: its line, for the message about the second time. */
export type Seen = Map<string, number>;

/** All methods throw RackFileError with the line of what is wrong. */
export class YamlReader {
  readonly #path: string;
  readonly #lines = new LineCounter();
  readonly #document: Document.Parsed;

  /** @param path - where `text` came from, for messages */
  constructor(text: string, path: string) {
    if (Buffer.byteLength(text) > maxOctets) {
      throw new RackFileError(`${path}, line 1: more than ${maxOctets} octets`);
    }
    this.#path = path;
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false });
    const [syntax] = this.#document.errors;
    if (!syntax) return;
    const { line } = this.#lines.linePos(syntax.pos[0]);
    throw new RackFileError(`${path}, line ${line}: ${syntax.message}`, { cause: syntax });
  }

  get contents(): unknown {
    return this.#document.contents;
  }

  nodeAt(path: readonly (string | number)[]): unknown {
    return this.#document.getIn(path, true);
  }

  needed(map: YAMLMap, member: string, max: number): number {
    const value = this.wholeNumber(map, member, 1, max);
    if (value !== undefined) return value;
    throw this.error(map, `${member} is missing`);
  }

  wholeNumber(map: YAMLMap, member: string, min: number, max: number): number | undefined {
    const value = this.number(map, member, min, max);
    if (value === undefined || Number.isInteger(value)) return value;
    throw this.error(map.get(member, true), `${member}: ${value} is not ${min}-${max}`);
  }

  number(map: YAMLMap, member: string, min: number, max: number): number | undefined {
    const node = map.get(member, true);
    if (node === undefined) return undefined;
    const value = isScalar(node) ? node.value : undefined;
    if (typeof value === "number" && value >= min && value <= max) return value;
    throw this.error(node, `${member}: ${String(value)} is not ${min}-${max}`);
  }

  /** Text, or a number as it was written: `name: 1` is a name too. */
  text(map: YAMLMap, member: string): string | undefined {
    const node = map.get(member, true);
    if (node === undefined) return undefined;
    const value = isScalar(node) ? node.value : undefined;
    if (typeof value === "string") return value;
    if (typeof value === "number") return isScalar(node) ? (node.source ?? String(value)) : "";
    throw this.error(node, `${member} is not a text`);
  }

  list(map: YAMLMap, member: string, what: string): readonly unknown[] {
    const node = map.get(member, true) as unknown;
    if (isSeq(node) && node.items.length > 0) return node.items;
    throw this.error(node ?? map, `${what} needs a list of ${member}`);
  }

  map(node: unknown, what: string, members: readonly string[]): YAMLMap {
    if (!isMap(node)) throw this.error(node, `${what} is not written as "member: value" lines`);
    for (const { key } of node.items) {
      const name = isScalar(key) ? String(key.value) : "";
      if (!members.includes(name)) {
        throw this.error(
          key,
          `${what} has no member ${JSON.stringify(name)}; there are: ${members.join(", ")}`,
        );
      }
    }
    return node;
  }

  plain(node: unknown): unknown {
    return isNode(node) ? node.toJS(this.#document) : node;
  }

  /** Refuses a second use of `key`, naming the line of the first. */
  once(seen: Seen, key: string, what: string, node: unknown): void {
    const first = seen.get(key);
    if (first !== undefined) throw this.error(node, `${what} was used on line ${first}`);
    seen.set(key, this.#line(node));
  }

  #line(node: unknown): number {
    const range = (node as { range?: readonly number[] | null } | null | undefined)?.range;
    return this.#lines.linePos(range?.[0] ?? 0).line || 1;
  }

  error(node: unknown, reason: string, cause?: unknown): RackFileError {
    return new RackFileError(`${this.#path}, line ${this.#line(node)}: ${reason}`, { cause });
  }
}
