/**
 * A program of the admin's own for hardware nobody wrote a driver for.
 *
 * Only programs in one directory that root filled are run: who may write rack
 * files over the API must not thereby run any program of the machine. Arguments
 * are a list; `{outlet}` and `{state}` are replaced only where they are a whole
 * argument, and nothing is ever read by a shell.
 *
 *   command: [switch-strip, --port, "{outlet}", "{state}"]     state: on, off, query
 *
 * Exit status 0: done (for `query`, standard output is `on`, `off` or `unknown`);
 * 2: refused, asking again cannot help; another: try again.
 */

import { join } from "node:path";
import { Type } from "typebox";
import { milliseconds } from "#protocol/brand.ts";
import type { PowerState } from "#protocol/node.ts";
import { PowerRefusedError, PowerUnreachableError } from "../../errors.ts";
import { definePowerDriver, type PowerDriver, type SettingsOf } from "../driver.ts";
import { type Outcome, runProgram } from "../program.ts";

export const commandDirectory = "/etc/marcoboot/power-commands";
const refused = 2;

const members = {
  command: Type.Array(Type.String({ maxLength: 1000, pattern: "^[^\\u0000]*$" }), {
    description: `a program of ${commandDirectory} and its arguments; "{outlet}" and "{state}" are filled in`,
    minItems: 1,
    maxItems: 32,
    examples: [["switch-strip", "{outlet}", "{state}"]],
  }),
  outlet: Type.String({
    description: "what {outlet} stands for",
    minLength: 1,
    maxLength: 100,
    pattern: "^[^-\\u0000][^\\u0000]*$", // never taken for an option
  }),
  canQuery: Type.Boolean({ description: "the program answers the state query", default: false }),
};
export type CommandSettings = SettingsOf<typeof members>;

/** @param directory - where the programs are */
export function createCommandDriver(directory: string): PowerDriver<CommandSettings> {
  const run = async (
    { command: [name = "", ...words], outlet }: CommandSettings,
    state: string,
    signal: AbortSignal,
  ): Promise<Outcome> => {
    const filled = words.map((word) =>
      word === "{outlet}" ? outlet : word === "{state}" ? state : word,
    );
    const outcome = await runProgram(join(directory, name), filled, {}, signal);
    if (outcome.exitCode === 0) return outcome;
    const reason = `${name} ${outlet} ${state}: exit status ${outcome.exitCode} ${outcome.complaints[0] ?? ""}`;
    if (outcome.exitCode === refused) throw new PowerRefusedError(reason.trim());
    throw new PowerUnreachableError(reason.trim());
  };

  return definePowerDriver({
    kind: "command",
    about: "a program of your own, for other hardware",
    settings: members,
    canQuery: true,
    minimumOffTime: milliseconds(2000),
    settleTime: milliseconds(2000),

    check({ command: [name = ""] }) {
      if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name)) return;
      throw new RangeError(`command.0 is not the name of a file in ${directory}`);
    },

    async set(settings, state, signal) {
      await run(settings, state, signal);
    },

    async query(settings, signal) {
      if (!settings.canQuery) return "unknown";
      return stateOf((await run(settings, "query", signal)).output.trim(), settings);
    },
  });
}

export const commandDriver = createCommandDriver(commandDirectory);

function stateOf(text: string, { command, outlet }: CommandSettings): PowerState {
  if (text === "on" || text === "off" || text === "unknown") return text;
  throw new PowerUnreachableError(
    `${command[0]} ${outlet} query: said ${JSON.stringify(text.slice(0, 40))}, not on, off or unknown`,
  );
}
