/** `marcoboot rack …` */

import { readFileSync } from "node:fs";
import { parse } from "yaml";
import type { Rack } from "#protocol/rack.ts";
import { type Command, CommandError, confirm, exitCodes, required, yesOption } from "../command.ts";
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

function nameIn(path: string, text: string): string {
  const value: unknown = parse(text);
  const name = value !== null && typeof value === "object" && "name" in value && value.name;
  if (typeof name === "string") return name;
  throw new CommandError(`${path} has no name`, exitCodes.usage, "add a line: name: lab");
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
    verb: "apply",
    about: "create or replace a rack from its file",
    positionals: ["FILE"],
    options: {},
    examples: ["marcoboot rack apply lab.yaml"],
    async run({ client, output, positionals }) {
      const path = required(positionals[0], "FILE");
      const text = readFileSync(path, "utf8");
      const name = nameIn(path, text);
      const rack = await client.send("PUT", `/api/v1/racks/${encodeURIComponent(name)}`, text);
      output.value(rack, `rack ${name} is kept`);
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
