/** Short external commands (`ip`, `mcopy`), run to their end; a failure carries what they said. */

import { execFileSync } from "node:child_process";

/** @throws Error with the command line and its error output when it does not end with 0. */
export function run(command: string, args: readonly string[], input?: string): string {
  try {
    return execFileSync(command, args, {
      encoding: "utf8",
      stdio: ["pipe", "pipe", "pipe"],
      maxBuffer: 64 * 1024 * 1024,
      ...(input !== undefined && { input }),
    });
  } catch (cause) {
    const said = (cause as { stderr?: string }).stderr?.trim();
    throw new Error(`${command} ${args.join(" ")}: ${said || String(cause)}`, { cause });
  }
}

/**
 * Command line that dies with the thread that started it, even when that one is
 * killed: `setpriv` sets PR_SET_PDEATHSIG, which survives every exec after it.
 */
export function tethered(command: string, args: readonly string[]): [string, string[]] {
  return ["setpriv", ["--pdeathsig", "KILL", command, ...args]];
}

/** Command line that runs inside a network namespace; the process id stays the same. */
export function inNamespace(
  namespace: string,
  command: string,
  args: readonly string[],
): [string, string[]] {
  return tethered("ip", ["netns", "exec", namespace, command, ...args]);
}
