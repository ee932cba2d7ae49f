/** Runs a tool to its end; its last lines are the reason when it fails. Used by recipes only, never on a packet's path. */

import { spawn } from "node:child_process";
import { ImageInvalidError } from "../../server/errors.ts";

const keptOctets = 4096;

/**
 * @param input - text for standard input
 * @returns what it printed on standard output
 * @throws ImageInvalidError naming the tool, its exit code and its last words
 */
export function run(command: string, args: readonly string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...args], {
      stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      env: { ...process.env, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" },
    });
    let out = "";
    let errors = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      out += chunk.toString();
    });
    child.stderr?.on("data", (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-keptOctets);
    });
    child.on("error", (cause) =>
      reject(new ImageInvalidError(`${command} cannot be started: ${cause.message}`, { cause })),
    );
    child.on("close", (code) => {
      if (code === 0) return resolve(out);
      reject(
        new ImageInvalidError(`${command} ended with ${code}: ${errors.trim() || out.trim()}`),
      );
    });
    child.stdin?.on("error", () => undefined); // a tool that stops reading tells why by its exit code
    child.stdin?.end(input);
  });
}
