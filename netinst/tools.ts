/**
 * Child programs: the file-system tools of the agent's squashfs, and the system's own mount,
 * losetup and blockdev (busybox in netinst, util-linux elsewhere; only options both know).
 */

import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { ToolError } from "./errors.ts";

/** In `sbin/` of the agent's squashfs, run by its own loader with its own libraries. */
const bundled = new Set([
  ...["sfdisk", "mke2fs", "resize2fs", "e2fsck", "mkfs.vfat", "xz", "smartctl"],
  ...["tar", "debugfs", "dumpe2fs"],
]);

export interface ToolResult {
  readonly code: number;
  readonly output: string;
}

/** The program and arguments that run `name`: bundled, or from PATH (busybox applets are links there). */
export function commandOf(
  name: string,
  args: readonly string[],
  agentRoot: string | undefined = process.env["MARCOBOOT_AGENT_ROOT"],
): readonly [program: string, args: readonly string[]] {
  if (agentRoot === undefined) return [name, args];
  if (bundled.has(name)) {
    const libraries = `${agentRoot}/lib`;
    const loader = readdirSync(libraries).find((file) => /^ld-linux.*\.so/.test(file));
    if (loader === undefined) throw new ToolError(`no loader in ${libraries}`);
    return [
      `${libraries}/${loader}`,
      ["--library-path", libraries, `${agentRoot}/sbin/${name}`, ...args],
    ];
  }
  return [name, args];
}

/**
 * Runs a tool to its end and collects what it says.
 *
 * @param good - exit codes that are success (e2fsck: 1 is "errors were corrected")
 * @throws ToolError with the end of its output.
 */
export async function runTool(
  name: string,
  args: readonly string[],
  options: { readonly input?: string; readonly good?: readonly number[] } = {},
): Promise<ToolResult> {
  const [program, all] = commandOf(name, args);
  const child = spawn(program, [...all], { stdio: ["pipe", "pipe", "pipe"] });
  let output = "";
  const collect = (part: Buffer) => {
    output = (output + part.toString("utf8")).slice(-16_384);
  };
  child.stdout.on("data", collect);
  child.stderr.on("data", collect);
  child.stdin.on("error", () => {}); // a tool that ends early closes its input
  child.stdin.end(options.input ?? "");
  const code = await new Promise<number>((resolve, reject) => {
    child.on("error", (cause) => reject(new ToolError(`cannot run ${name}`, { cause })));
    child.on("close", (exit, signal) => resolve(signal === null ? (exit ?? 1) : 128));
  });
  if (!(options.good ?? [0]).includes(code)) {
    throw new ToolError(
      `${name} ${args.join(" ")} ended with ${code}: ${output.trim().slice(-400)}`,
    );
  }
  return { code, output };
}
