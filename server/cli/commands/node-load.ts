/** `marcoboot node load`: how busy is it now? */

import type { NodeLoad } from "#protocol/load.ts";
import { loadTexts } from "#protocol/load-text.ts";
import { type Command, CommandError, exitCodes, required } from "../command.ts";
import { type Node, timeText } from "../shapes.ts";

function lineOf({ at, ...load }: NodeLoad & { readonly at: number }): string {
  const texts = loadTexts(load).map(([name, text]) => `${name.toLowerCase()} ${text}`);
  return [timeText(at), ...texts].join("  ");
}

export const nodeLoadCommands: readonly Command[] = [
  {
    noun: "node",
    verb: "load",
    about: "processor, memory, temperature and network of a node, each second until Ctrl-C",
    positionals: ["NODE"],
    options: {},
    examples: ["marcoboot node load lab-a-1", "marcoboot node load lab-a-1 --json"],
    async run({ client, output, positionals, signal }) {
      const name = required(positionals[0], "NODE");
      const path = `/api/v1/nodes/${encodeURIComponent(name)}`;
      const { connection } = (await client.get(path)) as Node;
      if (connection === "offline") {
        throw new CommandError(
          `${name} is offline`,
          exitCodes.failed,
          `\`marcoboot node why ${name}\` tells more`,
        );
      }
      for await (const value of client.events(`${path}/load`, signal)) {
        output.line(value, lineOf(value as NodeLoad & { at: number }));
      }
      return exitCodes.done;
    },
  },
];
