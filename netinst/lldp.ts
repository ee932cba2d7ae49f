/**
 * LLDP (IEEE 802.1AB-2016 §8): what a switch says each 30 s of itself and of the port it says it on.
 *
 * Pure. A unit that breaks off, lacks one of its first three members or has one of them twice is
 * dropped as a whole (§9.2.8.7.1).
 *
 *   | type (7 bits) | length (9 bits) | value (length octets) |   repeated; type 0 ends it
 *
 *   1 chassis   subtype, id        4 port description   text
 *   2 port      subtype, id        5 system name        text
 *   3 time to live, seconds        others are passed over
 */

import type { SwitchPort } from "#protocol/switch-port.ts";

/** A switch port, and how long the word counts. */
export interface Advertisement {
  readonly port: SwitchPort;
  /** 0: the switch says goodbye. */
  readonly seconds: number;
}

const types = { end: 0, chassis: 1, port: 2, timeToLive: 3, description: 4, system: 5 } as const;
const mandatory = [types.chassis, types.port, types.timeToLive];

type IdKind = "text" | "octets" | "hardware address" | "network address";
/** §8.5.2.2. */
const chassisKinds: Readonly<Record<number, IdKind>> = {
  1: "text", // component (RFC 6933)
  2: "text", // alias of an interface (RFC 2863)
  3: "octets", // component of a port
  4: "hardware address",
  5: "network address",
  6: "text", // name of an interface
  7: "text", // locally assigned
};
/** §8.5.3.2. */
const portKinds: Readonly<Record<number, IdKind>> = {
  1: "text", // alias of the interface
  2: "octets", // component
  3: "hardware address",
  4: "network address",
  5: "text", // name of the interface
  6: "octets", // circuit id (RFC 3046)
  7: "text", // locally assigned
};

/** @param unit - what follows the EtherType 0x88cc. Undefined: not to be believed */
export function decodeLldp(unit: Uint8Array): Advertisement | undefined {
  const members = membersOf(unit);
  if (!members || !mandatory.every((type, index) => members[index]?.type === type))
    return undefined;
  if (members.slice(mandatory.length).some(({ type }) => mandatory.some((one) => one === type))) {
    return undefined;
  }
  const memberOf = (type: number) => members.find((one) => one.type === type)?.value;
  const chassis = idOf(memberOf(types.chassis), chassisKinds);
  const port = idOf(memberOf(types.port), portKinds);
  const [high, low] = memberOf(types.timeToLive) ?? [];
  if (chassis === undefined || port === undefined) return undefined;
  if (high === undefined || low === undefined) return undefined;
  const description = textOf(memberOf(types.description));
  const system = textOf(memberOf(types.system));
  return {
    port: {
      ...{ protocol: "lldp", chassis, port },
      ...(description !== undefined && { description }),
      ...(system !== undefined && { system }),
    },
    seconds: high * 256 + low,
  };
}

interface Member {
  readonly type: number;
  readonly value: Uint8Array;
}

/** Undefined when one runs past the end. */
function membersOf(unit: Uint8Array): readonly Member[] | undefined {
  const members: Member[] = [];
  for (let at = 0; at < unit.length; ) {
    const [first, second] = unit.subarray(at, at + 2);
    if (first === undefined || second === undefined) return undefined;
    const type = first >> 1;
    const length = (first & 1) * 256 + second;
    if (type === types.end) break; // what follows fills the frame to 60 octets
    if (at + 2 + length > unit.length) return undefined;
    members.push({ type, value: unit.subarray(at + 2, at + 2 + length) });
    at += 2 + length;
  }
  return members;
}

/** Undefined for an id without octets, or of a kind that is reserved. */
function idOf(
  value: Uint8Array | undefined,
  kinds: Readonly<Record<number, IdKind>>,
): string | undefined {
  const [subtype, ...octets] = value ?? [];
  const kind = subtype === undefined ? undefined : kinds[subtype];
  if (kind === undefined || octets.length === 0) return undefined;
  const bytes = Uint8Array.from(octets);
  if (kind === "text") return textOf(bytes) ?? hexOf(bytes);
  if (kind === "hardware address" && octets.length === 6) {
    return octets.map((octet) => octet.toString(16).padStart(2, "0")).join(":");
  }
  // the family's number of IANA first: 1 is IPv4
  if (kind === "network address" && octets[0] === 1 && octets.length === 5) {
    return octets.slice(1).join(".");
  }
  return hexOf(bytes);
}

/** As DHCP's option 82 is written in rack files. */
function hexOf(bytes: Uint8Array): string {
  return `0x${Buffer.from(bytes).toString("hex")}`;
}

const longestText = 255; // of LLDP; CDP's may be longer, and is cut

/** Without NULs and white space around it; undefined when nothing is left, or it is no text. */
export function textOf(bytes: Uint8Array | undefined): string | undefined {
  const text = Buffer.from(bytes ?? [])
    .toString("utf8")
    .replaceAll("\0", "")
    .trim()
    .slice(0, longestText);
  return text === "" || /[\p{Cc}\u{fffd}]/u.test(text) ? undefined : text;
}
