/** A command as data: the parser, the help and the tests read the same tables. */

import type { ParseArgsOptionDescriptor } from "node:util";
import type { Client } from "./client.ts";
import type { Output } from "./output.ts";

/** 0 done, 1 failed, 2 usage, 3 some nodes failed, 4 sign-in needed, 5 not found, 6 timeout. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  someFailed: 3,
  signIn: 4,
  notFound: 5,
  timeout: 6,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export interface OptionSpec extends ParseArgsOptionDescriptor {
  readonly about: string;
  /** Shown after the option: `--image NAME`. */
  readonly value?: string;
}

export type Values = Readonly<
  Record<string, string | boolean | readonly (string | boolean)[] | undefined>
>;

export interface Run {
  readonly positionals: readonly string[];
  readonly values: Values;
  readonly client: Client;
  readonly output: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

export interface Command {
  readonly noun: string;
  readonly verb: string;
  readonly about: string;
  /** Names of the arguments; in brackets when they may be left out, `[WORDS...]` for any number at the end. */
  readonly positionals: readonly string[];
  readonly options: Readonly<Record<string, OptionSpec>>;
  readonly examples: readonly string[];
  run(run: Run): Promise<ExitCode> | ExitCode;
}

/** Wrong words on the command line: exit code 2. */
export class UsageError extends Error {}

/** Something that ended the command, with what to do about it. */
export class CommandError extends Error {
  readonly exitCode: ExitCode;
  readonly hint: string | undefined;

  constructor(message: string, exitCode: ExitCode, hint?: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
    this.hint = hint;
  }
}

export function textOf(values: Values, name: string): string | undefined {
  const value = values[name];
  return typeof value === "string" ? value : undefined;
}

/** Of the server on this machine. */
export function stateDirectoryOf(values: Values, environment: Run["environment"]): string {
  return textOf(values, "state") ?? environment["MARCOBOOT_STATE"] ?? "/var/lib/marcoboot";
}

export function flagOf(values: Values, name: string): boolean {
  return values[name] === true;
}

/** @throws UsageError when it is not there. */
export function required(value: string | undefined, name: string): string {
  if (value === undefined || value === "") throw new UsageError(`${name} is missing`);
  return value;
}

export const yesOption: OptionSpec = { type: "boolean", about: "do not ask" };

/**
 * Asks on a terminal; elsewhere `--yes` must have said it.
 *
 * @param word - what must be typed
 */
export async function confirm(run: Run, what: string, word: string): Promise<void> {
  if (flagOf(run.values, "yes")) return;
  if (!run.output.isInteractive) {
    throw new UsageError(`${what}: add --yes to say that this is meant`);
  }
  const answer = await run.output.ask(`${what}\nType ${word} to go on: `);
  if (answer.trim() !== word) {
    throw new CommandError("cancelled: nothing was done", exitCodes.usage);
  }
}
