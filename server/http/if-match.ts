/** A change that rests on what was read: `ETag` and `If-Match` (RFC 9110 §8.8.3 and §13.1.1). */

import { createHash } from "node:crypto";
import type { Context } from "koa";
import { canonicalJson } from "#protocol/discovery.ts";
import { PreconditionFailedError } from "../errors.ts";

function tagOf(document: unknown): string {
  return `"${createHash("sha256").update(canonicalJson(document)).digest("hex").slice(0, 16)}"`;
}

/** @param document - what people write of it: what moves by itself is no change */
export function setTag(koa: Context, document: unknown): void {
  koa.set("ETag", tagOf(document));
}

/**
 * @param present - the document as it is now; undefined: there is none
 * @param what - for the message: `window night`
 * @throws PreconditionFailedError when it is not the one that was read
 */
export function checkIfMatch(koa: Context, present: unknown, what: string): void {
  const wanted = koa.get("If-Match");
  if (wanted === "") return;
  if (present === undefined) throw new PreconditionFailedError(`${what} is not there any more`);
  if (wanted === "*" || wanted === tagOf(present)) return;
  throw new PreconditionFailedError(`${what} was changed meanwhile: read it again`);
}
