/** Reads request bodies with a limit of bytes and of time between bytes. */

import type { IncomingMessage } from "node:http";
import { milliseconds } from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";
import { InvalidInputError, UnavailableError } from "../errors.ts";

/** Largest JSON or YAML document: a rack file of a thousand slots is a tenth of it. */
const maxTextOctets = 1024 * 1024;
/** A sender that is silent for so long is cut off (slow loris). */
const idle = milliseconds(20_000);

/** How long the rest of a refused body is still read. */
const linger = milliseconds(30_000);

/** The chunks of a body; throws when the sender stops in the middle. Who breaks off leaves the rest unread. */
export async function* chunksOf(
  request: IncomingMessage,
  clock: Clock,
): AsyncGenerator<Buffer, void> {
  let last = clock.monotonic();
  const stop = clock.every(milliseconds(1000), () => {
    if (clock.monotonic() - last > idle) {
      request.destroy(new UnavailableError("the body stopped arriving"));
    }
  });
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      last = clock.monotonic();
      yield chunk as Buffer;
      last = clock.monotonic(); // time the reader took is not the sender's
    }
  } finally {
    stop();
  }
}

/**
 * Reads and forgets the rest of a refused body, for 30 s at most: a connection closed under a
 * sender is reset, and the answer is lost with it (RFC 9112 section 9.6).
 */
export async function forgetRest(request: IncomingMessage, clock: Clock): Promise<void> {
  const end = clock.monotonic() + linger;
  try {
    for await (const _ of chunksOf(request, clock)) if (clock.monotonic() > end) break;
  } catch {
    return; // the sender left, or stopped
  }
  if (!request.complete) request.destroy();
}

/** @throws InvalidInputError when it is longer than `limit` octets. */
export async function readOctets(
  request: IncomingMessage,
  clock: Clock,
  limit: number,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of chunksOf(request, clock)) {
    length += part.length;
    if (length > limit) {
      throw new InvalidInputError(`body is longer than ${limit} octets`);
    }
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** @throws InvalidInputError when it is longer than `limit` octets (1 MiB) or not UTF-8. */
export async function readText(
  request: IncomingMessage,
  clock: Clock,
  limit = maxTextOctets,
): Promise<string> {
  const octets = await readOctets(request, clock, limit);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(octets);
  } catch (cause) {
    throw new InvalidInputError("body is not UTF-8", [], { cause });
  }
}

/** @throws InvalidInputError unless the body is JSON, sent as JSON. */
export async function readJson(
  request: IncomingMessage,
  clock: Clock,
  limit = maxTextOctets,
): Promise<unknown> {
  const type = request.headers["content-type"] ?? "";
  const text = await readText(request, clock, limit);
  if (text === "") return {};
  if (!/^application\/([a-z.-]+\+)?json\s*(;|$)/i.test(type)) {
    throw new InvalidInputError(`content type ${JSON.stringify(type)} is not application/json`);
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new InvalidInputError("body is not JSON", [], { cause });
  }
}
