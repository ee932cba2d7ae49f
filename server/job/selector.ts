/**
 * Selectors: how people name nodes. A comma list of
 *
 *   all   rack:lab   stack:lab/a   slot:lab/a/1   state:ready   <node name>   node_<id>
 *
 * resolved once, when a job is made: a node that appears later is not in it.
 */

import type { NodeId } from "#protocol/brand.ts";
import { type Node, nodeStates } from "#protocol/node.ts";
import { InvalidInputError } from "../errors.ts";

/**
 * @returns ids in the order of `nodes`, each once.
 * @throws InvalidInputError naming each part that matches no node.
 */
export function resolveSelector(selector: string, nodes: readonly Node[]): readonly NodeId[] {
  const parts = selector
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
  if (parts.length === 0) throw refuse(["an empty selector names no node"]);
  const chosen = new Set<NodeId>();
  const wrong: string[] = [];
  for (const part of parts) {
    const matches = matcherOf(part);
    const found = matches ? nodes.filter(matches) : [];
    if (!matches) wrong.push(`${JSON.stringify(part)} is no selector`);
    else if (found.length === 0) wrong.push(`${JSON.stringify(part)} matches no node`);
    for (const node of found) chosen.add(node.id);
  }
  if (wrong.length > 0) throw refuse(wrong);
  return nodes.filter((node) => chosen.has(node.id)).map((node) => node.id);
}

/** Undefined when `part` follows none of the forms. */
function matcherOf(part: string): ((node: Node) => boolean) | undefined {
  // A retired node is chosen by its name only.
  if (part === "all") return (node) => node.state !== "retired";
  const colon = part.indexOf(":");
  if (colon < 0) return (node) => node.name === part.toLowerCase() || node.id === part;
  const [form, value] = [part.slice(0, colon), part.slice(colon + 1)];
  const names = value.split("/");
  switch (form) {
    case "rack":
      return names.length === 1 ? (node) => placeOf(node, 1) === value : undefined;
    case "stack":
      return names.length === 2 ? (node) => placeOf(node, 2) === value : undefined;
    case "slot":
      return names.length === 3 ? (node) => placeOf(node, 3) === value : undefined;
    case "state":
      return nodeStates.some((state) => state === value)
        ? (node) => node.state === value
        : undefined;
    default:
      return undefined;
  }
}

/** `rack`, `rack/stack` or `rack/stack/slot`. */
function placeOf({ slot }: Node, depth: number): string | undefined {
  return slot && [slot.rack, slot.stack, slot.slot].slice(0, depth).join("/");
}

function refuse(reasons: readonly string[]): InvalidInputError {
  return new InvalidInputError(
    reasons.join("; "),
    reasons.map((detail) => ({ pointer: "/selector", detail })),
  );
}
