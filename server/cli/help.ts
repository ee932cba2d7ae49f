/** Help texts, from the command tables. */

import { type Command, exitCodes, type OptionSpec } from "./command.ts";

/** Understood by every command. */
export const commonOptions: Readonly<Record<string, OptionSpec>> = {
  json: { type: "boolean", about: "one JSON document; a stream gives one per line" },
  quiet: { type: "boolean", short: "q", about: "no talk on standard error" },
  state: {
    type: "string",
    value: "DIR",
    about: "the server's state directory, for its socket (MARCOBOOT_STATE)",
  },
  server: { type: "string", value: "URL", about: "the server's admin listener (MARCOBOOT_SERVER)" },
  help: { type: "boolean", short: "h", about: "this text" },
};

export function usageOf(command: Command): string {
  return ["marcoboot", command.noun, command.verb, ...command.positionals]
    .filter((word) => word !== "")
    .join(" ");
}

export function commandHelp(command: Command): string {
  return [
    `${usageOf(command)}: ${command.about}`,
    "",
    "Examples",
    ...command.examples.map((example) => `  ${example}`),
    ...optionLines("Options", command.options),
    ...optionLines("For every command", commonOptions),
  ].join("\n");
}

/** @param noun - shows only this noun's commands */
export function overview(commands: readonly Command[], noun?: string): string {
  const shown = commands.filter((command) => noun === undefined || command.noun === noun);
  const codes = Object.entries(exitCodes).map(([name, code]) => `${code} ${wordsOf(name)}`);
  return [
    "marcoboot NOUN VERB [ARGUMENTS] [OPTIONS]",
    "",
    ...pairs(shown.map((command) => [usageOf(command).slice("marcoboot ".length), command.about])),
    ...optionLines("For every command", commonOptions),
    "",
    `Exit codes: ${codes.join(", ")}`,
    "More: marcoboot NOUN VERB --help",
  ].join("\n");
}

function wordsOf(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function optionLines(
  title: string,
  options: Readonly<Record<string, OptionSpec>>,
): readonly string[] {
  const rows = Object.entries(options).map(([name, { short, value, about }]) => {
    const word = `--${name}${value ? ` ${value}` : ""}`;
    return [short ? `-${short}, ${word}` : word, about] as const;
  });
  return rows.length === 0 ? [] : ["", title, ...pairs(rows)];
}

function pairs(rows: readonly (readonly [string, string])[]): readonly string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}
