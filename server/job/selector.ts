/**
 * Selectors: how people name nodes. A comma list of
 *
 *   all   rack:lab   stack:lab/a   slot:lab/a/1   slot:lab/a/1-4   state:ready
 *   tag:web   image:debian-12   <node name>   node_<id>
 *
 * Parts joined by `&` must all hold (`rack:lab&state:ready`); a part that begins
 * with `!` takes nodes out again (`rack:lab,!lab-a-1`). Resolved once, when a job
 * is made: a node that appears later is not in it.
 */

import type { NodeId } from "#protocol/brand.ts";
import type { Image } from "#protocol/image.ts";
import { type Node, nodeStates } from "#protocol/node.ts";
import { InvalidInputError } from "../errors.ts";

type NamedImage = Pick<Image, "digest" | "name">;
type Matcher = (node: Node) => boolean;

/** @throws InvalidInputError naming each part that follows none of the forms; it need match nothing. */
export function checkSelector(selector: string): void {
  const wrong = partsOf(selector).filter((part) => !matcherOf(nameIn(part), []));
  if (wrong.length > 0) {
    throw refuse(wrong.map((part) => `${JSON.stringify(part)} is no selector`));
  }
}

/**
 * @param images - what `image:<name>` may name; a digest's first eight digits or more do without
 * @returns ids in the order of their slots, then of `nodes`, each once.
 * @throws InvalidInputError naming each part that matches no node.
 */
export function resolveSelector(
  selector: string,
  nodes: readonly Node[],
  images: readonly NamedImage[] = [],
): readonly NodeId[] {
  const chosen = new Set<Node>();
  const wrong: string[] = [];
  // What is taken out is taken out whatever the order.
  for (const part of partsOf(selector).toSorted(
    (a, b) => Number(isTaken(a)) - Number(isTaken(b)),
  )) {
    const matches = matcherOf(nameIn(part), images);
    const found = matches ? nodes.filter(matches) : [];
    if (!matches) wrong.push(`${JSON.stringify(part)} is no selector`);
    else if (found.length === 0) wrong.push(`${JSON.stringify(part)} matches no node`);
    for (const node of found) {
      if (isTaken(part)) chosen.delete(node);
      else chosen.add(node);
    }
  }
  if (wrong.length > 0) throw refuse(wrong);
  if (chosen.size === 0) throw refuse([`${JSON.stringify(selector)} leaves no node`]);
  return nodes
    .filter((node) => chosen.has(node))
    .toSorted(bySlot)
    .map((node) => node.id);
}

function partsOf(selector: string): readonly string[] {
  const parts = selector
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
  if (parts.length === 0) throw refuse(["an empty selector names no node"]);
  return parts;
}

function isTaken(part: string): boolean {
  return part.startsWith("!");
}

function nameIn(part: string): string {
  return isTaken(part) ? part.slice(1) : part;
}

/** Undefined when `part` follows none of the forms. */
function matcherOf(part: string, images: readonly NamedImage[]): Matcher | undefined {
  const all = part.split("&").map((one) => oneMatcher(one.trim(), images));
  return all.every((one) => one !== undefined)
    ? (node) => all.every((matches) => matches(node))
    : undefined;
}

function oneMatcher(part: string, images: readonly NamedImage[]): Matcher | undefined {
  // A retired node is chosen by its name only.
  if (part === "all") return (node) => node.state !== "retired";
  const colon = part.indexOf(":");
  if (colon < 0) return (node) => node.name === part.toLowerCase() || node.id === part;
  const [form, value] = [part.slice(0, colon), part.slice(colon + 1)];
  switch (form) {
    case "rack":
      return placeMatcher(value, 1);
    case "stack":
      return placeMatcher(value, 2);
    case "slot":
      return placeMatcher(value, 3);
    case "state":
      return nodeStates.some((state) => state === value)
        ? (node) => node.state === value
        : undefined;
    case "tag":
      return (node) => node.tags?.includes(value) ?? false;
    case "image":
      return imageMatcher(value, images);
    default:
      return undefined;
  }
}

/** `rack`, `rack/stack` or `rack/stack/slot`; the last name may be a range of numbers, `1-4`. */
function placeMatcher(value: string, depth: number): Matcher | undefined {
  const names = value.split("/");
  if (names.length !== depth) return undefined;
  const last = names.at(-1) ?? "";
  const range = /^(\d{1,5})-(\d{1,5})$/.exec(last);
  return ({ slot }) => {
    if (!slot) return false;
    const place = [slot.rack, slot.stack, slot.slot].slice(0, depth);
    const name = place.at(-1) ?? "";
    if (place.slice(0, -1).some((one, index) => one !== names[index])) return false;
    if (name === last) return true;
    const isNumber = range !== null && /^\d{1,5}$/.test(name);
    return isNumber && Number(range[1]) <= Number(name) && Number(name) <= Number(range[2]);
  };
}

function imageMatcher(value: string, images: readonly NamedImage[]): Matcher | undefined {
  const digests = new Set(images.filter(({ name }) => name === value).map(({ digest }) => digest));
  const isDigest = /^[0-9a-f]{8,64}$/.test(value);
  return ({ image }) =>
    image !== undefined && (digests.has(image) || (isDigest && image.startsWith(value)));
}

/** By rack, stack and slot, `10` after `9`; then those in no slot, as they were. */
function bySlot(one: Node, other: Node): number {
  if (!one.slot || !other.slot) return Number(!one.slot) - Number(!other.slot);
  const [a, b] = [one.slot, other.slot].map(({ rack, stack, slot }) => [rack, stack, slot]);
  for (const [index, name] of (a ?? []).entries()) {
    const order = numerically.compare(name, b?.[index] ?? "");
    if (order !== 0) return order;
  }
  return 0;
}
const numerically = new Intl.Collator("en", { numeric: true });

function refuse(reasons: readonly string[]): InvalidInputError {
  return new InvalidInputError(
    reasons.join("; "),
    reasons.map((detail) => ({ pointer: "/selector", detail })),
  );
}
