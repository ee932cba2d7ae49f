/**
 * `npm run check`: style, layering and types, side by side. Prints only what failed;
 * exit code 1 when something did.
 */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

interface Check {
  readonly title: string;
  readonly command: readonly [program: string, ...args: string[]];
}

/** What git ignores is not ours to check: coverage reports alone kept Biome busy for ten minutes. */
const ignoring = ["--vcs-enabled=true", "--vcs-client-kind=git", "--vcs-use-ignore-file=true"];

const checks: readonly Check[] = [
  {
    title: "style and layering",
    command: ["biome", "check", "--error-on-warnings", ...ignoring, "."],
  },
  { title: "types", command: ["tsc", "-p", "."] },
  { title: "types of the page", command: ["tsc", "-p", "web"] },
];

/** @returns whether it passed */
function perform({ title, command: [program, ...args] }: Check): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const begun = performance.now();
  const child = spawn(join(root, "node_modules/.bin", program), args, {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...(process.stdout.isTTY && { FORCE_COLOR: "1" }) },
  });
  const output: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => output.push(chunk));
  child.on("error", (cause) => output.push(Buffer.from(`${cause.message}\n`)));
  child.on("close", (code) => {
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    if (code !== 0) process.stdout.write(Buffer.concat(output));
    process.stdout.write(`${code === 0 ? "ok    " : "FAILED"} ${title}: ${seconds} s\n`);
    resolve(code === 0);
  });
  return promise;
}

if (!existsSync(join(root, "node_modules/.bin/biome"))) {
  process.stderr.write("error: npm packages are missing\nhint: npm run check installs them\n");
  process.exit(1);
}
const passed = await Promise.all(checks.map(perform));
process.exitCode = passed.every(Boolean) ? 0 : 1;
