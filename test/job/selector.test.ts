import test from "ava";
import type { Node } from "#protocol/node.ts";
import { resolveSelector } from "../../server/job/selector.ts";

const node = (name: string, state: Node["state"], place?: string): Node => {
  const [rack = "", stack = "", slot = ""] = place?.split("/") ?? [];
  return {
    id: `node_${name}`,
    name,
    state,
    ...(place && { slot: { rack, stack, slot } }),
  } as unknown as Node;
};
const nodes = [
  node("one", "ready", "lab/a/1"),
  node("two", "installed", "lab/a/2"),
  node("three", "ready", "lab/b/1"),
  node("four", "retired"),
  node("five", "discovered", "attic/a/1"),
];

const table: readonly (readonly [selector: string, names: readonly string[]])[] = [
  ["all", ["one", "two", "three", "five"]],
  ["rack:lab", ["one", "two", "three"]],
  ["stack:lab/a", ["one", "two"]],
  ["slot:lab/a/2", ["two"]],
  ["state:ready", ["one", "three"]],
  ["four", ["four"]],
  ["ONE, node_two ,one", ["one", "two"]],
  ["slot:lab/b/1,stack:lab/a", ["one", "two", "three"]],
];
for (const [selector, names] of table) {
  test(`${selector} is ${names.join(", ")}`, (t) => {
    t.deepEqual(
      resolveSelector(selector, nodes).map(String),
      names.map((name) => `node_${name}`),
    );
  });
}

const refused: readonly (readonly [selector: string, message: string])[] = [
  ["", "an empty selector names no node"],
  ["one,six", '"six" matches no node'],
  ["rack:cellar,stack:lab", '"rack:cellar" matches no node; "stack:lab" is no selector'],
  ["state:asleep", '"state:asleep" is no selector'],
  ["colour:red", '"colour:red" is no selector'],
];
for (const [selector, message] of refused) {
  test(`refused: ${JSON.stringify(selector)}`, (t) => {
    t.throws(() => resolveSelector(selector, nodes), { name: "InvalidInputError", message });
  });
}
