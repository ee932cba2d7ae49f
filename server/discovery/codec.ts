/**
 * Discovery datagrams as the server sees them: the question decoded, the answer
 * encoded. Pure; the message format is in protocol/discovery.ts.
 *
 * A question is strict where trust depends on it (command, nonce) and lenient in
 * what MarcoPolo's own clients differ in: two spellings of a command, and
 * members we do not know.
 */

import {
  type DiscoveryAnswer,
  type DiscoveryQuestion,
  maxDiscoveryOctets,
  type ServerParams,
} from "#protocol/discovery.ts";
import { PacketError } from "../errors.ts";

const commands: ReadonlyMap<unknown, DiscoveryQuestion["Command"]> = new Map([
  ["Marco", "Marco"],
  ["Discover", "Marco"],
  ["Request-For", "Request-For"],
  ["Request-for", "Request-For"],
]);
const noncePattern = /^[0-9a-f]{32}$/;
/** MarcoPolo's service ids have 1-30 characters; a user's carry `<user>:` before. */
const maxServiceLength = 64;

/**
 * @throws PacketError unless `bytes` are one JSON object with a known command, a
 *   nonce, and for `Request-For` a service
 */
export function decodeQuestion(bytes: Uint8Array): DiscoveryQuestion {
  if (bytes.length > maxDiscoveryOctets) {
    throw new PacketError(`${bytes.length} octets, more than ${maxDiscoveryOctets}`, 0);
  }
  const message = parseObject(bytes);
  const command = commands.get(message["Command"]);
  if (!command) throw new PacketError("not a question", 0);
  const nonce = message["Nonce"];
  if (typeof nonce !== "string" || !noncePattern.test(nonce)) {
    throw new PacketError("no nonce of 32 hexadecimal digits", 0);
  }
  if (command === "Marco") return { Command: command, Nonce: nonce };
  const service = message["Params"];
  if (typeof service !== "string" || service.length < 1 || service.length > maxServiceLength) {
    throw new PacketError("no service name", 0);
  }
  return { Command: command, Params: service, Nonce: nonce };
}

/** @throws RangeError when the answer would not fit a datagram: the parameters are ours, so is the fault. */
export function encodeAnswer(answer: DiscoveryAnswer): Uint8Array {
  const bytes = new TextEncoder().encode(JSON.stringify(answer));
  if (bytes.length > maxDiscoveryOctets) {
    throw new RangeError(`discovery answer of ${bytes.length} octets`);
  }
  return bytes;
}

/** The members that every answer of one server has; the caller adds nonce and signature. */
export function answerTo(
  question: DiscoveryQuestion,
  params: ServerParams,
  key: string,
  signature: string,
): DiscoveryAnswer {
  return {
    Command: question.Command === "Marco" ? "Polo" : "OK",
    Params: params,
    Nonce: question.Nonce,
    Key: key,
    Signature: signature,
  };
}

function parseObject(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new PacketError("not JSON in UTF-8", 0, { cause });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>;
  }
  throw new PacketError("not a JSON object", 0);
}
