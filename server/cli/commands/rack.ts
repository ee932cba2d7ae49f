/** `marcoboot rack …`: which there are. Their files: rack-file.ts. */

import type { Rack } from "#protocol/rack.ts";
import { type Command, confirm, exitCodes, required, yesOption } from "../command.ts";
import { clean } from "../output.ts";
import type { Node, Page } from "../shapes.ts";

const marks: Readonly<Record<Node["state"], string>> = {
  discovered: "?",
  enrolled: "o",
  ready: "o",
  installing: ">",
  installed: "#",
  failed: "!",
  retired: "x",
};

/** The rack in text, a line per slot: mark, slot, name, state, power, address. */
function draw(rack: Rack, nodes: readonly Node[]): string {
  const lines = [rack.name];
  for (const stack of rack.stacks) {
    lines.push(`  stack ${stack.name}`);
    for (const slot of stack.slots) {
      const node = nodes.find(
        ({ slot: at }) =>
          at?.rack === rack.name && at.stack === stack.name && at.slot === slot.name,
      );
      const text = node
        ? [marks[node.state], slot.name, node.name, node.state, node.power, node.address ?? "-"]
        : [".", slot.name, slot.hostname, "empty"];
      lines.push(`    ${text.join("  ")}`);
    }
  }
  return clean(lines.join("\n"));
}

export const rackCommands: readonly Command[] = [
  {
    noun: "rack",
    verb: "list",
    about: "racks, their stacks and slots",
    positionals: [],
    options: {},
    examples: ["marcoboot rack list --json"],
    async run({ client, output }) {
      const { items } = (await client.get("/api/v1/racks")) as Page<Rack>;
      output.table(
        ["name", "stacks", "slots"],
        items.map((rack) => [
          rack.name,
          rack.stacks.length,
          rack.stacks.reduce((sum, stack) => sum + stack.slots.length, 0),
        ]),
        items,
      );
      return exitCodes.done;
    },
  },
  {
    noun: "rack",
    verb: "show",
    about: "a rack with the nodes in its slots",
    positionals: ["NAME"],
    options: {},
    examples: ["marcoboot rack show lab"],
    async run({ client, output, positionals }) {
      const name = required(positionals[0], "NAME");
      const rack = (await client.get(`/api/v1/racks/${encodeURIComponent(name)}`)) as Rack;
      const path = `/api/v1/nodes?rack=${encodeURIComponent(name)}`;
      const { items } = (await client.get(path)) as Page<Node>;
      output.value({ ...rack, nodes: items }, draw(rack, items));
      return exitCodes.done;
    },
  },
  {
    noun: "rack",
    verb: "delete",
    about: "forget a rack",
    positionals: ["NAME"],
    options: { yes: yesOption },
    examples: ["marcoboot rack delete lab --yes"],
    async run(run) {
      const name = required(run.positionals[0], "NAME");
      await confirm(run, `Rack ${name} will be forgotten.`, name);
      await run.client.send("DELETE", `/api/v1/racks/${encodeURIComponent(name)}`);
      run.output.say(`rack ${name} is forgotten`);
      return exitCodes.done;
    },
  },
];
