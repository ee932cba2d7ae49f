/**
 * Runs a program for a power driver: arguments as a list, never a shell; a small
 * environment of our own; the whole process group ends when time is up.
 *
 * A server that is killed leaves its programs behind, and an "off" among them would
 * come after the next server's "on". So each carries its server's name in its
 * environment, as does all it starts, and the next server ends them first (orphans.ts).
 */

import { spawn } from "node:child_process";
import { PowerRefusedError, PowerUnreachableError } from "../errors.ts";
import { killGroup, ownerMark } from "./orphans.ts";

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const maxOutput = 64 * 1024; // octets kept of each stream; the rest is read and dropped

export interface Outcome {
  readonly exitCode: number;
  readonly output: string;
  /** What it said on standard error, for messages: the first lines. */
  readonly complaints: readonly string[];
}

export interface ProgramOptions {
  /** Where programs are looked for; default: Debian's directories. */
  readonly path?: string | undefined;
  /** For secrets: unlike arguments, other users cannot read it. */
  readonly environment?: Readonly<Record<string, string>>;
  /** What to install when the program is not there. */
  readonly debianPackage?: string;
  /** What it leaves behind is to stay when this server ends. */
  readonly outlives?: boolean;
}

/**
 * @throws PowerRefusedError when there is no such program; PowerUnreachableError
 *   when it was ended by a signal or did not end in time.
 */
export function runProgram(
  program: string,
  args: readonly string[],
  options: ProgramOptions,
  signal: AbortSignal,
): Promise<Outcome> {
  const { path = defaultPath, environment = {}, debianPackage, outlives = false } = options;
  if (signal.aborted) return Promise.reject(new PowerUnreachableError(`${program}: no time left`));
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: { PATH: path, LC_ALL: "C", ...(!outlives && ownerMark()), ...environment },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true, // its own process group, so that what it started ends with it
    });
    const end = () => {
      reject(new PowerUnreachableError(`${program} did not end in time`));
      if (child.pid !== undefined) killGroup(child.pid);
    };
    signal.addEventListener("abort", end, { once: true });
    const output = collect(child.stdout);
    const complaint = collect(child.stderr);
    child.on("error", (cause) => {
      signal.removeEventListener("abort", end);
      const remedy = debianPackage ? `: install the Debian package ${debianPackage}` : "";
      reject(new PowerRefusedError(`${program} cannot be run${remedy}`, { cause }));
    });
    child.on("close", (exitCode, signalName) => {
      signal.removeEventListener("abort", end);
      if (exitCode === null) {
        reject(new PowerUnreachableError(`${program} was ended by ${signalName}`));
      } else {
        const lines = complaint()
          .split("\n")
          .map((line) => line.trim().slice(0, 200));
        resolve({ exitCode, output: output(), complaints: lines.filter(Boolean).slice(0, 5) });
      }
    });
  });
}

function collect(stream: NodeJS.ReadableStream): () => string {
  let text = "";
  stream.setEncoding("utf8");
  stream.on("data", (part: string) => {
    if (text.length < maxOutput) text += part;
  });
  return () => text;
}
