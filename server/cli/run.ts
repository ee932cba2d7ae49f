/** From words to exit code: finds the command, parses its options, runs it, says what went wrong. */

import { parseArgs } from "node:util";
import { ProvisionError } from "../errors.ts";
import { createClient, type Target } from "./client.ts";
import {
  type Command,
  CommandError,
  type ExitCode,
  exitCodes,
  stateDirectoryOf,
  UsageError,
  type Values,
} from "./command.ts";
import { commands } from "./commands.ts";
import { commandHelp, commonOptions, overview, usageOf } from "./help.ts";
import { createOutput, type Streams } from "./output.ts";
import { readToken } from "./token-file.ts";

export interface Surroundings extends Streams {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

/** @param words - the command line without node and script */
export async function runCommandLine(
  words: readonly string[],
  surroundings: Surroundings,
): Promise<ExitCode> {
  const found = findCommand(words);
  if (!found) return tellOverview(words, surroundings);
  try {
    return await runCommand(found.command, found.rest, surroundings);
  } catch (error) {
    return tellError(error, found.command, surroundings);
  }
}

function findCommand(
  words: readonly string[],
): { command: Command; rest: readonly string[] } | undefined {
  const [noun, verb] = words;
  const exact = commands.find((one) => one.noun === noun && one.verb === verb && verb !== "");
  if (exact) return { command: exact, rest: words.slice(2) };
  const alone = commands.find((one) => one.noun === noun && one.verb === "");
  return alone && { command: alone, rest: words.slice(1) };
}

function tellOverview(words: readonly string[], { stdout, stderr }: Surroundings): ExitCode {
  const [noun] = words;
  const isAsked = noun === undefined || ["--help", "-h", "help"].includes(noun);
  const isNoun = commands.some((one) => one.noun === noun);
  if (isAsked || (isNoun && (words.length === 1 || words.includes("--help")))) {
    stdout.write(`${overview(commands, isNoun ? noun : undefined)}\n`);
    return exitCodes.done;
  }
  stderr.write(`error: no command ${JSON.stringify(words.slice(0, 2).join(" "))}\n`);
  stderr.write(`hint: marcoboot ${isNoun ? `${noun} ` : ""}--help lists them\n`);
  return exitCodes.usage;
}

async function runCommand(
  command: Command,
  words: readonly string[],
  surroundings: Surroundings,
): Promise<ExitCode> {
  const { environment, signal, stdout } = surroundings;
  const { values, positionals } = parseWords(command, words);
  if (values["help"] === true) {
    stdout.write(`${commandHelp(command)}\n`);
    return exitCodes.done;
  }
  const least = command.positionals.filter((name) => !name.startsWith("[")).length;
  if (positionals.length < least) {
    throw new UsageError(`${command.positionals[positionals.length]} is missing`);
  }
  const isOpen = command.positionals.at(-1)?.includes("...") === true;
  if (positionals.length > command.positionals.length && !isOpen) {
    throw new UsageError(`too many arguments: ${positionals.slice(command.positionals.length)}`);
  }
  const output = createOutput(surroundings, {
    json: values["json"] === true,
    quiet: values["quiet"] === true,
  });
  const client = createClient(targetOf(values, environment), readToken(environment), signal);
  return command.run({ positionals, values, client, output, environment, signal });
}

function parseWords(command: Command, words: readonly string[]) {
  try {
    return parseArgs({
      args: [...words],
      options: { ...commonOptions, ...command.options },
      allowPositionals: true,
    });
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/** Flag before environment; a URL before a socket. */
function targetOf(values: Values, environment: Surroundings["environment"]): Target {
  const { state, server } = values;
  const url = server ?? (state === undefined ? environment["MARCOBOOT_SERVER"] : undefined);
  if (typeof url === "string" && url !== "") {
    if (!/^https?:$/.test(URL.parse(url)?.protocol ?? "")) {
      throw new UsageError(`--server ${url} is not an http or https URL`);
    }
    return { url };
  }
  return { socketPath: `${stateDirectoryOf(values, environment)}/admin.sock` };
}

/** The only catch of the command line. */
function tellError(error: unknown, command: Command, { stderr, signal }: Surroundings): ExitCode {
  if (signal.aborted) {
    stderr.write("error: interrupted\n");
    return exitCodes.usage;
  }
  const message = messageOf(error);
  stderr.write(`error: ${message}\n`);
  if (error instanceof UsageError) {
    stderr.write(`hint: ${usageOf(command)}; more with --help\n`);
    return exitCodes.usage;
  }
  if (error instanceof CommandError) {
    if (error.hint !== undefined) stderr.write(`hint: ${error.hint}\n`);
    return error.exitCode;
  }
  const isOurs = error instanceof ProvisionError || (error instanceof Error && "code" in error);
  if (!isOurs && error instanceof Error) stderr.write(`${error.stack ?? ""}\n`);
  return exitCodes.failed;
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code, path } = error as NodeJS.ErrnoException;
  return code === "ENOENT" && path !== undefined ? `there is no ${path}` : error.message;
}
