/** `marcoboot serve`: this process becomes the server. */

import { type Command, exitCodes, required, textOf } from "../command.ts";

const endWithinMs = 2000;

export const serveCommands: readonly Command[] = [
  {
    noun: "serve",
    verb: "",
    about: "run the server until SIGTERM",
    positionals: [],
    options: {
      config: {
        type: "string",
        value: "FILE",
        about: "settings; default /etc/marcoboot/marcoboot.yaml",
      },
    },
    examples: ["marcoboot serve --config lab.yaml"],
    async run({ values, signal }) {
      const configPath = required(
        textOf(values, "config") ?? "/etc/marcoboot/marcoboot.yaml",
        "--config",
      );
      const { serve } = await import("../../main.ts");
      try {
        await serve({ configPath, signal });
      } finally {
        // Whatever still holds the process then has failed to close: systemd starts it anew.
        setTimeout(() => process.exit(), endWithinMs).unref();
      }
      return exitCodes.done;
    },
  },
];
