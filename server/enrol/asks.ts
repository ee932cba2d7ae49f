/**
 * Keys that ask to enrol without a right to: what an admin compares and approves.
 *
 * Anyone on the wire may ask in a node's name, so the list of a node is short, and
 * an approval is for one code. Nobody is held back for an ask.
 */

import type { Instant } from "#protocol/brand.ts";
import type { EnrolmentAsk, Node } from "#protocol/node.ts";
import { ConflictError } from "../errors.ts";

/** An agent asks again after four minutes at the latest. */
const keptMs = 15 * 60_000;
/** Least time between two journal writes of one ask. */
const writtenMs = 60_000;
const maxAsks = 4;

/** Those that still come. */
export function freshAsks(
  { asks = [] }: Pick<Node, "asks">,
  now: Instant,
): readonly EnrolmentAsk[] {
  return asks.filter(({ at }) => now - at < keptMs);
}

/** The node's asks with this one; undefined when there is nothing worth a write. */
export function withAsk(
  node: Pick<Node, "asks">,
  ask: EnrolmentAsk,
): { readonly asks: readonly EnrolmentAsk[]; readonly isNew: boolean } | undefined {
  const fresh = freshAsks(node, ask.at);
  const before = fresh.find(({ code }) => code === ask.code);
  if (before ? ask.at - before.at < writtenMs : fresh.length >= maxAsks) return undefined;
  return { asks: [...fresh.filter((one) => one !== before), ask], isNew: before === undefined };
}

/**
 * The code an approval is for: the one that was named, or the only one that asks.
 * Undefined: none asks yet, so the first to come is meant.
 *
 * @throws ConflictError when several ask and none was named
 */
export function codeToApprove(
  node: Pick<Node, "name" | "asks">,
  named: string | undefined,
  now: Instant,
): string | undefined {
  if (named !== undefined) return named.toUpperCase();
  const [first, ...others] = freshAsks(node, now);
  if (others.length === 0) return first?.code;
  const codes = freshAsks(node, now).map(({ code, address }) => `${code} from ${address}`);
  throw new ConflictError(
    `several keys ask in the name of ${node.name}: ${codes.join(", ")}; name the code that is on its screen`,
  );
}
