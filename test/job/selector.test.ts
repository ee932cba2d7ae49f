import test from "ava";
import type { Node } from "#protocol/node.ts";
import { resolveSelector } from "../../server/job/selector.ts";

const debian = "ab".repeat(32);
const node = (
  name: string,
  state: Node["state"],
  place?: string,
  more: Partial<Node> = {},
): Node => {
  const [rack = "", stack = "", slot = ""] = place?.split("/") ?? [];
  return {
    id: `node_${name}`,
    name,
    state,
    ...(place && { slot: { rack, stack, slot } }),
    ...more,
  } as unknown as Node;
};
const nodes = [
  node("one", "ready", "lab/a/1"),
  node("two", "installed", "lab/a/2", { image: debian as never, tags: ["web"] }),
  node("ten", "failed", "lab/c/10"),
  node("nine", "failed", "lab/c/9", { tags: ["web", "old"] }),
  node("three", "ready", "lab/b/1"),
  node("four", "retired"),
  node("five", "discovered", "attic/a/1"),
];

const table: readonly (readonly [selector: string, names: readonly string[]])[] = [
  ["all", ["five", "one", "two", "three", "nine", "ten"]],
  ["rack:lab", ["one", "two", "three", "nine", "ten"]],
  ["stack:lab/a", ["one", "two"]],
  ["slot:lab/a/2", ["two"]],
  ["slot:lab/a/1-2", ["one", "two"]],
  ["slot:lab/c/9-48", ["nine", "ten"]],
  ["state:ready", ["one", "three"]],
  ["tag:web", ["two", "nine"]],
  ["image:debian", ["two"]],
  ["image:abababab", ["two"]],
  ["rack:lab&state:failed&tag:old", ["nine"]],
  ["rack:lab,!stack:lab/c,!one", ["two", "three"]],
  ["!one,stack:lab/a", ["two"]],
  ["four", ["four"]],
  ["ONE, node_two ,one", ["one", "two"]],
  ["slot:lab/b/1,stack:lab/a", ["one", "two", "three"]],
];
for (const [selector, names] of table) {
  test(`${selector} is ${names.join(", ")}`, (t) => {
    t.deepEqual(
      resolveSelector(selector, nodes, [{ name: "debian", digest: debian as never }]).map(String),
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
  ["slot:lab/a/7-9", '"slot:lab/a/7-9" matches no node'],
  ["slot:lab/a", '"slot:lab/a" is no selector'],
  ["image:ubuntu", '"image:ubuntu" matches no node'],
  ["all&colour:red", '"all&colour:red" is no selector'],
  ["one,!one", '"one,!one" leaves no node'],
];
for (const [selector, message] of refused) {
  test(`refused: ${JSON.stringify(selector)}`, (t) => {
    t.throws(() => resolveSelector(selector, nodes), { name: "InvalidInputError", message });
  });
}
