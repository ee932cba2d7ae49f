/**
 * Discovery datagrams: bytes to values and back, for both roles. Pure; the format is in
 * protocol/discovery.ts.
 *
 * Strict where trust depends on it (command, nonce, the types of what is signed), lenient in
 * what MarcoPolo's own clients differ in: two spellings of a command, and members we do not know.
 * What is none of ours is `undefined`: other programs share the group.
 */

import {
  type DiscoveryAnswer,
  type DiscoveryQuestion,
  maxDiscoveryOctets,
  type OfferedService,
  type Params,
} from "#protocol/discovery.ts";

const commands: ReadonlyMap<unknown, DiscoveryQuestion["Command"]> = new Map([
  ["Marco", "Marco"],
  ["Discover", "Marco"],
  ["Request-For", "Request-For"],
  ["Request-for", "Request-For"],
  ["Services", "Services"],
]);
const noncePattern = /^[0-9a-f]{32}$/;
/** MarcoPolo's service ids have 1-30 characters; a user's carry `<user>:` before. */
const maxServiceLength = 64;
/** Nobody waits longer for an answer. */
const maxWithinMs = 60_000;

export function decodeQuestion(bytes: Uint8Array): DiscoveryQuestion | undefined {
  const message = parseObject(bytes);
  const command = commands.get(message?.["Command"]);
  const nonce = message?.["Nonce"];
  if (!command || typeof nonce !== "string" || !noncePattern.test(nonce)) return undefined;
  const within = message?.["Within"];
  const base = {
    Nonce: nonce,
    ...(typeof within === "number" && within >= 0 && { Within: Math.min(within, maxWithinMs) }),
  };
  if (command !== "Request-For") return { ...base, Command: command };
  const service = message?.["Params"];
  if (typeof service !== "string" || service.length < 1 || service.length > maxServiceLength) {
    return undefined;
  }
  return { ...base, Command: command, Params: service };
}

export function decodeAnswer(bytes: Uint8Array): DiscoveryAnswer | undefined {
  const message = parseObject(bytes);
  if (message?.["Command"] !== "OK" && message?.["Command"] !== "Polo") return undefined;
  const texts = ["Nonce", "Address", "Key", "Signature"].every(
    (name) => typeof message[name] === "string",
  );
  const { Params: params, Services: services, Certificate: certificate } = message;
  const says = services === undefined ? isParams(params) : isServices(services);
  const certified = certificate === undefined || typeof certificate === "string";
  return texts && says && certified ? (message as unknown as DiscoveryAnswer) : undefined;
}

/** @throws RangeError when it would not fit a datagram: what it says is ours, so is the fault. */
export function encodeMessage(message: DiscoveryQuestion | DiscoveryAnswer): Uint8Array {
  const bytes = new TextEncoder().encode(JSON.stringify(message));
  if (bytes.length <= maxDiscoveryOctets) return bytes;
  throw new RangeError(`discovery ${message.Command} of ${bytes.length} octets`);
}

export function isParams(value: unknown): value is Params {
  return (
    isObject(value) &&
    Object.values(value).every((one) => ["string", "number", "boolean"].includes(typeof one))
  );
}

function isServices(value: unknown): value is readonly OfferedService[] {
  return (
    Array.isArray(value) &&
    value.every(
      (one) =>
        isObject(one) &&
        typeof one["id"] === "string" &&
        (one["params"] === undefined || isParams(one["params"])),
    )
  );
}

function parseObject(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  if (bytes.length > maxDiscoveryOctets) return undefined;
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // not UTF-8, or not JSON: nobody's fault here
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
