/**
 * Commands of the configuration: what an operator may run on nodes, by name.
 * An argument that is a value in braces, `{package}`, is filled in, as a whole:
 * a value never becomes two arguments, nor part of another.
 */

import type { Config } from "../config.ts";
import { InvalidInputError } from "../errors.ts";

export type Commands = Config["commands"];

/** The parameters of a job `run`: as given with `argv`, or those of the command it names. @throws InvalidInputError */
export function commandParameters(
  parameters: Readonly<Record<string, unknown>>,
  commands: Commands,
): Readonly<Record<string, unknown>> {
  const { command, values = {}, ...rest } = parameters;
  if (command === undefined) {
    if ("values" in parameters) throw wrong("values", "values belong to a named command");
    return rest;
  }
  const known = Object.keys(commands).join(", ") || "none";
  const isKnown = typeof command === "string" && Object.hasOwn(commands, command);
  const found = isKnown ? commands[command] : undefined;
  if (!found) throw wrong("command", `no command ${JSON.stringify(command)}; configured: ${known}`);
  if ("argv" in rest) throw wrong("argv", `command ${command} has its own argv`);
  const given = valuesOf(values);
  const other = Object.keys(given).find((name) => !Object.hasOwn(found.values, name));
  if (other !== undefined) throw wrong("values", `command ${command} takes no value ${other}`);
  const argv = found.argv.map((one) => {
    const name = placeholder.exec(one)?.[1];
    if (name === undefined) return one;
    const value = given[name];
    const pattern = found.values[name] ?? "";
    if (value === undefined) throw wrong("values", `command ${command} needs the value ${name}`);
    if (new RegExp(`^(?:${pattern})$`, "u").test(value)) return value;
    throw wrong("values", `${name}: ${JSON.stringify(value)} does not fit ${pattern}`);
  });
  return { timeoutSeconds: found.timeoutSeconds, ...rest, argv, command };
}

/** Whether only an admin may ask for it: any program, rather than one that the configuration names, and an image. */
export function needsAdmin(kind: string, parameters: Readonly<Record<string, unknown>>): boolean {
  return kind === "capture" || (kind === "run" && parameters["command"] === undefined);
}

export const placeholder = /^\{([a-z][a-zA-Z0-9]{0,30})\}$/;

function valuesOf(values: unknown): Readonly<Record<string, string>> {
  if (values === null || typeof values !== "object" || Array.isArray(values)) {
    throw wrong("values", "values is not an object");
  }
  for (const [name, value] of Object.entries(values)) {
    if (typeof value !== "string" || value.length > 1000) {
      throw wrong("values", `${name} is not a text of at most 1000 characters`);
    }
  }
  return values as Record<string, string>;
}

function wrong(member: string, detail: string): InvalidInputError {
  return new InvalidInputError(detail, [{ pointer: `/parameters/${member}`, detail }]);
}
