/**
 * Runs one tool of the build machine to its end. Nothing goes through a shell;
 * what the tool said last is part of the error, so that a failed build explains itself.
 */

import { spawn } from "node:child_process";

/** One line of progress for a person, without line feed. */
export type Progress = (line: string) => void;

export interface CommandOptions {
  readonly directory?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

/** A tool is missing, or ended with something else than 0. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

/**
 * @returns what the tool wrote to its standard output
 * @throws CommandError with the last ten lines the tool wrote to standard error
 */
export function run(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    ...(options.directory && { cwd: options.directory }),
    env: { ...process.env, LC_ALL: "C", ...options.environment },
  });
  const output: Buffer[] = [];
  const complaints: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => complaints.push(chunk));
  child.on("error", (cause) =>
    reject(new CommandError(`${command} could not be started: ${cause.message}`, { cause })),
  );
  child.on("close", (code, signal) => {
    if (code === 0) return resolve(Buffer.concat(output).toString());
    const last = Buffer.concat(complaints).toString().trimEnd().split("\n").slice(-10).join("\n");
    reject(
      new CommandError(`${command} ${args.join(" ")} ended with ${code ?? signal}\n${last}`.trim()),
    );
  });
  return promise;
}

/** Reports a step with the seconds it took, when it ends. */
export async function timed<T>(log: Progress, title: string, work: () => Promise<T>): Promise<T> {
  const begun = performance.now();
  log(`${title} …`);
  const result = await work();
  log(`${title}: ${((performance.now() - begun) / 1000).toFixed(1)} s`);
  return result;
}
