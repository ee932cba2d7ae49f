/**
 * The rack file: YAML (or JSON, which is YAML) in, {@link Rack} out. Every
 * complaint names the line, because the file is written by hand.
 *
 *   name: lab
 *   subnet: 10.77.0.0/24                 # one of the configuration's
 *   addresses: { first: 10.77.0.20 }     # then slot by slot; with perStack: 16 each stack begins a block
 *   hostnames: "node-{n:02}"             # default: {rack}-{stack}-{slot}
 *   power: { onAtOnce: 4, onEverySeconds: 2, offSeconds: 5 }
 *   rules:                               # what its nodes get by themselves; the first that matches
 *     - { name: small, match: { places: [lab/a], minMemoryMiB: 900 }, image: debian-12 }
 *   stacks:
 *     - name: a
 *       slots: 4                         # short for four slots named 1 to 4
 *       outlet: { driver: manual }       # one outlet for the whole stack
 *     - name: b
 *       x: 1                             # column in the drawing; default: its place in the list
 *       firstAddress: 10.77.0.100
 *       slots:
 *         - name: left
 *           hostname: db-1
 *           address: 10.77.0.200
 *           port: gi1/0/7                # the switch's port, where DHCP option 82 or SNMP tells it
 *           outlet: { driver: qemu, settings: { socket: /run/rack.sock, outlet: b1 } }
 *
 * Racks of equal stacks are written once, with the words of `pattern.ts`:
 *
 *   stacks:
 *     count: 12                          # named 1 to 12
 *     columns: 6                         # two rows of six in the drawing
 *     slots: { count: 4, outlet: { driver: poe-snmp, settings: { host: 10.0.0.2, portIndex: "{n}" } } }
 *
 * `{ each: [4, 17, 27] }` in settings is the first value for the first, and so on.
 *
 * Names, host names, addresses, ports and outlets are unique; a member that does
 * not exist is refused, so a misspelt one is not silently without effect.
 */

import { isMap, isScalar, type YAMLMap } from "yaml";
import { parseIpv4Address } from "#protocol/brand.ts";
import type { AddressPlan, Outlet, Rack, RackPower, Slot, Stack } from "#protocol/rack.ts";
import type { Rule } from "#protocol/rule.ts";
import { InvalidInputError } from "../errors.ts";
import { type AnyPowerDriver, driverNamed, powerDriverKinds } from "../power/registry.ts";
import { identityOf, isKept, type KeptSecrets, secretNames } from "../power/secrets.ts";
import { parseRule } from "../rule/rule.ts";
import { fill, fillSetting, type Place } from "./pattern.ts";
import { misfit, parseNetwork, plannedAddress, plannedHostname } from "./plan.ts";
import { type Seen, YamlReader } from "./yaml-reader.ts";

const maxStacks = 512;
const maxSlots = 512; // of one stack
const maxCoordinate = 1000;
const maxPort = 100; // characters
/** A label of a host name (RFC 1123 §2.1), lower case; also fits file names and selectors. */
const label = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

const stackMembers = ["subnet", "outlet", "slots"];
const slotMembers = ["port", "outlet"];

/**
 * @param path - where `text` came from, for messages
 * @param keptSecrets - what `{ kept: true }` stands for; default: nothing is kept
 * @returns the rack with its secrets in clear
 * @throws RackFileError with the line of what is wrong.
 */
export function parseRackFile(text: string, path: string, keptSecrets?: KeptSecrets): Rack {
  return new RackFileReader(text, path, keptSecrets).read();
}

/** A stack, or one of several that are written once. */
interface StackSource {
  readonly map: YAMLMap;
  readonly name: string;
  readonly index: number;
  readonly x: number;
  readonly y: number;
}

interface SlotSource {
  /** Where it is written, for messages. */
  readonly map: YAMLMap;
  /** Its own members; undefined for one of `slots: 4`. */
  readonly own?: YAMLMap;
  readonly name: string;
  readonly index: number;
}

class RackFileReader {
  readonly #yaml: YamlReader;
  readonly #keptSecrets: KeptSecrets | undefined;
  readonly #hostnames: Seen = new Map();
  readonly #addresses: Seen = new Map();
  readonly #ports: Seen = new Map();
  readonly #outlets: Seen = new Map();
  #slotCount = 0;

  constructor(text: string, path: string, keptSecrets: KeptSecrets | undefined) {
    this.#yaml = new YamlReader(text, path);
    this.#keptSecrets = keptSecrets;
  }

  read(): Rack {
    const members = ["name", "subnet", "addresses", "hostnames", "power", "rules", "stacks"];
    const top = this.#yaml.map(this.#yaml.contents, "the rack", members);
    const subnet = this.#subnet(top);
    const hostnames = this.#yaml.text(top, "hostnames");
    const addresses = this.#addressPlan(top);
    const power = this.#power(top);
    const rules = this.#rules(top);
    const rack: Omit<Rack, "stacks"> = {
      name: this.#name(top, "the rack"),
      ...(subnet !== undefined && { subnet }),
      ...(hostnames !== undefined && { hostnames }),
      ...(addresses && { addresses }),
      ...(power && { power }),
      ...(rules && { rules }),
    };
    const names: Seen = new Map();
    const stacks = this.#stackSources(top, rack.name).map((source) => {
      this.#yaml.once(names, source.name, `stack name ${source.name}`, source.map);
      return this.#stack(source, rack);
    });
    return { ...rack, stacks };
  }

  #rules(top: YAMLMap): readonly Rule[] | undefined {
    if (!top.has("rules")) return undefined;
    const names: Seen = new Map();
    return this.#yaml.list(top, "rules", "the rack").map((node, index) => {
      try {
        const rule = parseRule(this.#yaml.plain(node));
        this.#yaml.once(names, rule.name, `rule name ${rule.name}`, node);
        return rule;
      } catch (error) {
        if (!(error instanceof InvalidInputError)) throw error;
        const [first] = error.fields;
        const path = first?.pointer.split("/").filter((part) => part !== "") ?? [];
        const wrong = this.#yaml.nodeAt(["rules", index, ...path]);
        throw this.#yaml.error(wrong ?? node, error.message, error);
      }
    });
  }

  #stackSources(top: YAMLMap, rack: string): readonly StackSource[] {
    const node = top.get("stacks", true);
    if (!isMap(node)) {
      return this.#yaml.list(top, "stacks", "the rack").map((one, index) => {
        const members = ["name", "x", "y", "firstAddress", ...stackMembers];
        const map = this.#yaml.map(one, "a stack", members);
        const name = this.#name(map, "the stack");
        const x = this.#yaml.wholeNumber(map, "x", 0, maxCoordinate) ?? index;
        return { map, name, index, x, y: this.#yaml.wholeNumber(map, "y", 0, maxCoordinate) ?? 0 };
      });
    }
    const map = this.#yaml.map(node, "the stacks", ["count", "name", "columns", ...stackMembers]);
    const count = this.#yaml.needed(map, "count", maxStacks);
    const columns = this.#yaml.wholeNumber(map, "columns", 1, maxCoordinate) ?? count;
    const pattern = this.#yaml.text(map, "name") ?? "{n}";
    return Array.from({ length: count }, (_, index) => ({
      map,
      name: this.#label(fill(pattern, { rack, stack: "", n: index + 1 }), map),
      index,
      x: index % columns,
      y: Math.floor(index / columns),
    }));
  }

  #stack(source: StackSource, rack: Omit<Rack, "stacks">): Stack {
    const { map, name, x, y, index } = source;
    const subnet = this.#subnet(map);
    const firstAddress = this.#address(map, "firstAddress");
    const outlet = this.#outlet(map, { rack: rack.name, stack: name, n: index + 1 });
    const stack: Omit<Stack, "slots"> = {
      name,
      x,
      y,
      ...(subnet !== undefined && { subnet }),
      ...(firstAddress !== undefined && { firstAddress }),
      ...(outlet && { outlet }),
    };
    const slots = this.#slotSources(map, rack, stack.name).map((one) =>
      this.#slot(one, rack, stack, index),
    );
    const both = outlet && slots.find((slot) => slot.outlet);
    if (both)
      throw this.#yaml.error(map, `stack ${name} and its slot ${both.name} both have an outlet`);
    const { addresses } = rack;
    if (addresses?.perStack !== undefined && slots.length > addresses.perStack) {
      throw this.#yaml.error(
        map,
        `stack ${name} has ${slots.length} slots, and addresses.perStack is ${addresses.perStack}`,
      );
    }
    return { ...stack, slots };
  }

  #slotSources(stack: YAMLMap, rack: Pick<Rack, "name">, stackName: string): readonly SlotSource[] {
    const node = stack.get("slots", true) as unknown;
    if (isScalar(node) && typeof node.value === "number") {
      return numbered(stack, this.#yaml.needed(stack, "slots", maxSlots));
    }
    if (isMap(node)) {
      const map = this.#yaml.map(node, "the slots", ["count", ...slotMembers]);
      return numbered(map, this.#yaml.needed(map, "count", maxSlots), map);
    }
    const names: Seen = new Map();
    return this.#yaml.list(stack, "slots", `stack ${rack.name}/${stackName}`).map((one, index) => {
      const map = this.#yaml.map(one, "a slot", ["name", "hostname", "address", ...slotMembers]);
      const name = this.#name(map, "the slot");
      this.#yaml.once(names, name, `slot name ${name}`, map);
      return { map, own: map, name, index };
    });
  }

  #slot(
    { map, own, name, index }: SlotSource,
    rack: Omit<Rack, "stacks">,
    stack: Omit<Stack, "slots">,
    stackIndex: number,
  ): Slot {
    const position = { stackIndex, slotIndex: index, number: this.#slotCount++ };
    const place = { rack: rack.name, stack: stack.name, slot: name, n: position.number + 1 };
    const hostname =
      (own && this.#yaml.text(own, "hostname")) ??
      plannedHostname(rack, stack.name, name, position);
    if (!label.test(hostname)) {
      throw this.#yaml.error(map, `not a host name: ${JSON.stringify(hostname)}`);
    }
    this.#yaml.once(this.#hostnames, hostname, `host name ${hostname}`, map);
    const address = (own && this.#address(own, "address")) ?? plannedAddress(rack, stack, position);
    if (address !== undefined) this.#checkAddress(address, stack.subnet ?? rack.subnet, map);
    const port = own && this.#port(own, place);
    const outlet = own && this.#outlet(own, place);
    return {
      name,
      hostname,
      ...(address !== undefined && { address }),
      ...(port !== undefined && { port }),
      ...(outlet && { outlet }),
    };
  }

  #checkAddress(address: string, subnet: string | undefined, node: YAMLMap): void {
    const where = node.get("address", true) ?? node;
    this.#yaml.once(this.#addresses, address, `address ${address}`, where);
    const reason = subnet === undefined ? undefined : misfit(address, subnet);
    if (reason !== undefined) throw this.#yaml.error(where, reason);
  }

  #port(slot: YAMLMap, place: Place): string | undefined {
    const pattern = this.#yaml.text(slot, "port");
    if (pattern === undefined) return undefined;
    const port = fill(pattern, place);
    if (port === "" || port.length > maxPort) {
      throw this.#yaml.error(slot.get("port", true), `port is not of 1-${maxPort} characters`);
    }
    this.#yaml.once(this.#ports, port, `port ${port}`, slot);
    return port;
  }

  #subnet(map: YAMLMap): string | undefined {
    const text = this.#yaml.text(map, "subnet");
    if (text === undefined) return undefined;
    try {
      parseNetwork(text);
    } catch (cause) {
      throw this.#yaml.error(map.get("subnet", true), `subnet: ${reasonOf(cause)}`, cause);
    }
    return text;
  }

  #addressPlan(top: YAMLMap): AddressPlan | undefined {
    const node = top.get("addresses", true);
    if (node === undefined) return undefined;
    const map = this.#yaml.map(node, "addresses", ["first", "perStack"]);
    const first = this.#address(map, "first");
    if (first === undefined) throw this.#yaml.error(map, "addresses need a first one");
    const perStack = this.#yaml.wholeNumber(map, "perStack", 1, 65_536);
    return { first, ...(perStack !== undefined && { perStack }) };
  }

  #power(top: YAMLMap): RackPower | undefined {
    const node = top.get("power", true);
    if (node === undefined) return undefined;
    const map = this.#yaml.map(node, "power", ["onAtOnce", "onEverySeconds", "offSeconds"]);
    const onAtOnce = this.#yaml.wholeNumber(map, "onAtOnce", 1, 512);
    const onEverySeconds = this.#yaml.number(map, "onEverySeconds", 0, 60);
    const offSeconds = this.#yaml.number(map, "offSeconds", 0, 60);
    if (onAtOnce === undefined && onEverySeconds !== undefined) {
      throw this.#yaml.error(map, "onEverySeconds says nothing without onAtOnce");
    }
    return {
      ...(onAtOnce !== undefined && { onAtOnce }),
      ...(onEverySeconds !== undefined && { onEverySeconds }),
      ...(offSeconds !== undefined && { offSeconds }),
    };
  }

  #address(map: YAMLMap, member: string): string | undefined {
    const text = this.#yaml.text(map, member);
    if (text === undefined) return undefined;
    try {
      return parseIpv4Address(text);
    } catch (cause) {
      throw this.#yaml.error(map.get(member, true), `not an IPv4 address: ${text}`, cause);
    }
  }

  #outlet(owner: YAMLMap, place: Place): Outlet | undefined {
    const node = owner.get("outlet", true);
    if (node === undefined) return undefined;
    const map = this.#yaml.map(node, "an outlet", ["driver", "settings"]);
    const kind = this.#yaml.text(map, "driver");
    const driver = driverNamed(kind ?? "");
    if (!driver || kind === undefined) {
      const known = powerDriverKinds.join(", ");
      throw this.#yaml.error(
        map,
        `no power driver ${JSON.stringify(kind ?? "")}; there are: ${known}`,
      );
    }
    try {
      const written: unknown = this.#yaml.plain(map.get("settings", true)) ?? {};
      const settings = this.#settings(driver, written as Outlet["settings"], place);
      const identity = identityOf(driver, driver.parse(settings));
      // An outlet nobody can switch is no particular outlet: many may be alike.
      if (kind !== "manual")
        this.#yaml.once(this.#outlets, identity, `this outlet of ${kind}`, map);
      return { driver: kind, settings };
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw this.#yaml.error(map, `outlet of driver ${kind}: ${cause.message}`, cause);
    }
  }

  /** Settings of one outlet of those that are written once. @throws RangeError */
  #settings(driver: AnyPowerDriver, written: Outlet["settings"], place: Place): Outlet["settings"] {
    if (written === null || typeof written !== "object" || Array.isArray(written)) return written;
    const hidden = secretNames(driver);
    const own = Object.entries(written).map(([name, value]) => {
      const { type } = (driver.schema.properties[name] ?? {}) as { readonly type?: string };
      return [name, hidden.includes(name) ? value : fillSetting(name, value, place, type)];
    });
    const settings = Object.fromEntries(own) as Outlet["settings"];
    if (this.#keptSecrets) return this.#keptSecrets(driver, settings);
    const kept = hidden.find((name) => isKept(settings[name]));
    if (kept === undefined) return settings;
    throw new RangeError(`${kept} is kept by the server: it alone can check this file`);
  }

  #name(map: YAMLMap, what: string): string {
    const name = this.#yaml.text(map, "name");
    if (name === undefined) throw this.#yaml.error(map, `${what} has no name`);
    return this.#label(name, map.get("name", true));
  }

  #label(name: string, node: unknown): string {
    if (label.test(name)) return name;
    throw this.#yaml.error(
      node,
      `name ${JSON.stringify(name)} is not made of 1-63 of a-z, 0-9 and inner hyphens`,
    );
  }
}

function numbered(map: YAMLMap, count: number, own?: YAMLMap): readonly SlotSource[] {
  return Array.from({ length: count }, (_, index) => {
    return { map, ...(own && { own }), name: `${index + 1}`, index };
  });
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
