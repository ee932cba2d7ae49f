/** Runs a program for an admin: its own process group, no shell, nothing on its input, an end to its time. */

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { RunAssignment } from "#protocol/agent.ts";
import { sleep } from "../wait.ts";

/** Between the polite end and the other one. */
const graceMs = 5000;
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const longestLine = 2000; // characters

/**
 * Ends with the program, which ends with `signal`.
 *
 * @param onLine - each line it says
 * @returns why it did not succeed, in plain words; undefined when it did
 */
export async function runProgram(
  { argv, timeoutSeconds }: Pick<RunAssignment, "argv" | "timeoutSeconds">,
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<string | undefined> {
  const [program = "", ...rest] = argv;
  let lastLine = "";
  const child = spawn(program, rest, {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true, // what it starts ends with it
    cwd: "/",
    env: { PATH: path, LANG: "C.UTF-8", HOME: "/root" },
  });
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => {
      lastLine = line.slice(0, longestLine);
      onLine(lastLine);
    });
  }
  const late = AbortSignal.timeout(timeoutSeconds * 1000);
  const stop = AbortSignal.any([signal, late]);
  const ended = new AbortController();
  const end = async () => {
    killGroup(child.pid, "SIGTERM");
    await sleep(graceMs, ended.signal);
    if (!ended.signal.aborted) killGroup(child.pid, "SIGKILL");
  };
  stop.addEventListener("abort", () => void end(), { once: true });
  if (stop.aborted) void end();
  try {
    const { code, name } = await new Promise<{ code: number | null; name: string | null }>(
      (resolve, reject) => {
        child.once("error", reject);
        child.once("close", (code, name) => resolve({ code, name }));
      },
    );
    if (late.aborted) return `it was ended after ${timeoutSeconds} s`;
    if (code === 0) return undefined;
    const how = code === null ? `signal ${name}` : `exit status ${code}`;
    return lastLine === "" ? how : `${how}: ${lastLine}`;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === "ENOENT" ? `no program ${program}` : message;
  } finally {
    ended.abort();
  }
}

function killGroup(pid: number | undefined, name: "SIGTERM" | "SIGKILL"): void {
  if (pid === undefined) return; // it never started
  try {
    process.kill(-pid, name);
  } catch {
    // it has just ended by itself
  }
}
