/**
 * The rack file: YAML (or JSON, which is YAML) in, {@link Rack} out. Every
 * complaint names the line, because the file is written by hand.
 *
 *   name: lab
 *   stacks:
 *     - name: a
 *       slots: 4                         # short for four slots named 1 to 4
 *       outlet: { driver: manual }       # one outlet for the whole stack
 *     - name: b
 *       x: 1                             # column in the drawing; default: its place in the list
 *       slots:
 *         - name: left
 *           hostname: db-1               # default: lab-b-left
 *           address: 10.77.0.20          # default: next free address of the reserved range
 *           outlet: { driver: qemu, settings: { socket: /run/rack.sock, outlet: b1 } }
 *
 * Names, host names, addresses and outlets are unique; a member that does not
 * exist is refused, so a misspelt one is not silently without effect.
 */

import {
  type Document,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type YAMLMap,
} from "yaml";
import { parseIpv4Address } from "#protocol/brand.ts";
import { canonicalJson } from "#protocol/discovery.ts";
import type { Outlet, Rack, Slot, Stack } from "#protocol/rack.ts";
import { RackFileError } from "../errors.ts";
import { driverNamed, powerDriverKinds } from "../power/registry.ts";

const maxOctets = 1024 * 1024;
const maxSlots = 512; // of one stack
const maxCoordinate = 1000;
/** A label of a host name (RFC 1123 §2.1), lower case; also fits file names and selectors. */
const label = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * @param path - where `text` came from, for messages.
 * @throws RackFileError with the line of what is wrong.
 */
export function parseRackFile(text: string, path: string): Rack {
  if (Buffer.byteLength(text) > maxOctets) {
    throw new RackFileError(`${path}, line 1: more than ${maxOctets} octets`);
  }
  return new RackFileReader(text, path).read();
}

/** Where something was first said: its line, for the message about the second time. */
type Seen = Map<string, number>;

class RackFileReader {
  readonly #path: string;
  readonly #lines = new LineCounter();
  readonly #document: Document.Parsed;
  readonly #hostnames: Seen = new Map();
  readonly #addresses: Seen = new Map();
  readonly #outlets: Seen = new Map();

  constructor(text: string, path: string) {
    this.#path = path;
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false });
  }

  read(): Rack {
    const [syntax] = this.#document.errors;
    if (syntax) {
      const { line } = this.#lines.linePos(syntax.pos[0]);
      throw new RackFileError(`${this.#path}, line ${line}: ${syntax.message}`, { cause: syntax });
    }
    const top = this.#map(this.#document.contents, "the rack", ["name", "stacks"]);
    const name = this.#name(top, "the rack");
    const stackNames: Seen = new Map();
    const stacks = this.#list(top, "stacks", "the rack").map((node, index) =>
      this.#stack(node, index, name, stackNames),
    );
    return { name, stacks };
  }

  #stack(node: unknown, index: number, rack: string, names: Seen): Stack {
    const map = this.#map(node, "a stack", ["name", "x", "y", "outlet", "slots"]);
    const name = this.#name(map, "the stack");
    this.#once(names, name, `stack name ${name}`, map);
    const outlet = this.#outlet(map);
    const slots = this.#slots(map, `${rack}-${name}`);
    const both = outlet && slots.find((slot) => slot.outlet);
    if (both) throw this.#error(map, `stack ${name} and its slot ${both.name} both have an outlet`);
    return {
      name,
      x: this.#coordinate(map, "x", index),
      y: this.#coordinate(map, "y", 0),
      ...(outlet && { outlet }),
      slots,
    };
  }

  #slots(stack: YAMLMap, prefix: string): readonly Slot[] {
    const value = stack.get("slots");
    const names: Seen = new Map();
    if (typeof value === "number") {
      if (!Number.isInteger(value) || value < 1 || value > maxSlots) {
        throw this.#error(stack.get("slots", true), `slots: ${value} is not 1-${maxSlots}`);
      }
      return Array.from({ length: value }, (_, index) => {
        const hostname = `${prefix}-${index + 1}`;
        this.#once(this.#hostnames, hostname, `host name ${hostname}`, stack);
        return { name: `${index + 1}`, hostname };
      });
    }
    return this.#list(stack, "slots", "the stack").map((node) => this.#slot(node, prefix, names));
  }

  #slot(node: unknown, prefix: string, names: Seen): Slot {
    const map = this.#map(node, "a slot", ["name", "hostname", "address", "outlet"]);
    const name = this.#name(map, "the slot");
    this.#once(names, name, `slot name ${name}`, map);
    const hostname = this.#text(map, "hostname") ?? `${prefix}-${name}`;
    if (!label.test(hostname))
      throw this.#error(map, `not a host name: ${JSON.stringify(hostname)}`);
    this.#once(this.#hostnames, hostname, `host name ${hostname}`, map);
    const address = this.#address(map);
    const outlet = this.#outlet(map);
    return {
      name,
      hostname,
      ...(address !== undefined && { address }),
      ...(outlet && { outlet }),
    };
  }

  #address(slot: YAMLMap): string | undefined {
    const text = this.#text(slot, "address");
    if (text === undefined) return undefined;
    try {
      parseIpv4Address(text);
    } catch (cause) {
      throw this.#error(slot.get("address", true), `not an IPv4 address: ${text}`, cause);
    }
    this.#once(this.#addresses, text, `address ${text}`, slot.get("address", true));
    return text;
  }

  #outlet(owner: YAMLMap): Outlet | undefined {
    const node = owner.get("outlet", true);
    if (node === undefined) return undefined;
    const map = this.#map(node, "an outlet", ["driver", "settings"]);
    const kind = this.#text(map, "driver");
    const driver = driverNamed(kind ?? "");
    if (!driver || kind === undefined) {
      const known = powerDriverKinds.join(", ");
      throw this.#error(map, `no power driver ${JSON.stringify(kind ?? "")}; there are: ${known}`);
    }
    const settings: unknown = this.#plain(map.get("settings", true)) ?? {};
    let parsed: unknown;
    try {
      parsed = driver.parse(settings);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw this.#error(map, `outlet of driver ${kind}: ${reason}`, cause);
    }
    // An outlet nobody can switch is no particular outlet: many may be alike.
    if (driver.kind !== "manual") {
      this.#once(this.#outlets, canonicalJson([kind, parsed]), `this outlet of ${kind}`, map);
    }
    return { driver: kind, settings: settings as Outlet["settings"] };
  }

  #coordinate(stack: YAMLMap, member: "x" | "y", fallback: number): number {
    const value = stack.get(member) ?? fallback;
    if (
      typeof value === "number" &&
      Number.isInteger(value) &&
      value >= 0 &&
      value <= maxCoordinate
    )
      return value;
    throw this.#error(
      stack.get(member, true),
      `${member}: ${String(value)} is not 0-${maxCoordinate}`,
    );
  }

  #name(map: YAMLMap, what: string): string {
    const name = this.#text(map, "name");
    if (name === undefined) throw this.#error(map, `${what} has no name`);
    if (label.test(name)) return name;
    throw this.#error(
      map.get("name", true),
      `name ${JSON.stringify(name)} is not made of 1-63 of a-z, 0-9 and inner hyphens`,
    );
  }

  /** Text, or a number as it was written: `name: 1` is a name too. */
  #text(map: YAMLMap, member: string): string | undefined {
    const node = map.get(member, true);
    if (node === undefined) return undefined;
    const value = isScalar(node) ? node.value : undefined;
    if (typeof value === "string") return value;
    if (typeof value === "number") return isScalar(node) ? (node.source ?? String(value)) : "";
    throw this.#error(node, `${member} is not a text`);
  }

  #list(map: YAMLMap, member: string, what: string): readonly unknown[] {
    const node = map.get(member, true) as unknown;
    if (isSeq(node) && node.items.length > 0) return node.items;
    throw this.#error(node ?? map, `${what} needs a list of ${member}`);
  }

  #map(node: unknown, what: string, members: readonly string[]): YAMLMap {
    if (!isMap(node)) throw this.#error(node, `${what} is not written as "member: value" lines`);
    for (const { key } of node.items) {
      const name = isScalar(key) ? String(key.value) : "";
      if (!members.includes(name)) {
        throw this.#error(
          key,
          `${what} has no member ${JSON.stringify(name)}; there are: ${members.join(", ")}`,
        );
      }
    }
    return node;
  }

  #plain(node: unknown): unknown {
    return isMap(node) ? node.toJS(this.#document) : isScalar(node) ? node.value : node;
  }

  /** Refuses a second use of `key`, naming the line of the first. */
  #once(seen: Seen, key: string, what: string, node: unknown): void {
    const first = seen.get(key);
    if (first !== undefined) throw this.#error(node, `${what} was used on line ${first}`);
    seen.set(key, this.#line(node));
  }

  #line(node: unknown): number {
    const range = (node as { range?: readonly number[] | null } | null | undefined)?.range;
    return this.#lines.linePos(range?.[0] ?? 0).line || 1;
  }

  #error(node: unknown, reason: string, cause?: unknown): RackFileError {
    return new RackFileError(`${this.#path}, line ${this.#line(node)}: ${reason}`, { cause });
  }
}
