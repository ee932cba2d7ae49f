/**
 * `npm test`: sets up what is missing, then runs both levels and prints
 * `N passed, N failed` as its last line.
 *
 *   quick   units, vectors, captures, properties (ava.config.js)
 *   lab     real peers, namespaces, QEMU, a browser (ava.lab.config.js): needs root and Linux namespaces
 *
 *   npm test [-- --quick] [-- <files…>]
 */

import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setup } from "./setup.ts";
import { readArguments } from "./usage.ts";

const root = join(import.meta.dirname, "..");

interface Outcome {
  readonly passed: number;
  readonly failed: number;
}

/** Why the lab cannot run here, in words; `undefined` when it can. */
function labObstacle(): string | undefined {
  if (process.getuid?.() !== 0)
    return "not root: run as root for namespaces, ports below 1024 and QEMU taps";
  if (!existsSync("/dev/net/tun")) return "/dev/net/tun is missing: load the kernel module tun";
  if (spawnSync("unshare", ["-n", "true"]).status !== 0) {
    return "network namespaces are refused (unshare -n): run outside an unprivileged container";
  }
  return undefined;
}

/** Runs one level; failing tests are printed whole, passing ones as a count. */
function runLevel(name: string, args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const ava = join(root, "node_modules", ".bin", "ava");
    const child = spawn(process.execPath, [ava, "--tap", ...args], {
      cwd: root,
      stdio: ["ignore", "pipe", "inherit"],
    });
    child.on("error", reject);
    let passed = 0;
    let failed = 0;
    let showing = false;
    createInterface({ input: child.stdout }).on("line", (line) => {
      const verdict = /^(not )?ok \d+ - (.*)$/.exec(line);
      if (!verdict) {
        if (showing || /^(#|Bail out)/.test(line)) process.stdout.write(`${line}\n`);
        return;
      }
      showing = verdict[1] !== undefined;
      if (showing) failed += 1;
      else passed += 1;
      const seconds = ((performance.now() - started) / 1000).toFixed(0);
      if (showing || name === "lab") process.stdout.write(`${seconds.padStart(5)} s  ${line}\n`);
    });
    child.on("close", (code) => {
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      // A crash outside any test (a broken import, an unhandled rejection) must count too.
      if (code !== 0 && failed === 0) failed = 1;
      process.stdout.write(`${name}: ${passed} passed, ${failed} failed in ${seconds} s\n`);
      resolve({ passed, failed });
    });
  });
}

const usage = `
npm test [-- options] [-- test files]: sets up what is missing, runs all tests

  --quick   only those that need no root
`;
const { values, positionals } = readArguments(usage, {
  options: { quick: { type: "boolean", default: false } },
  allowPositionals: true,
});
const quickFiles = positionals.filter((file) => !isLab(file));
const labFiles = positionals.filter(isLab);
const everything = positionals.length === 0;
const outcomes: Outcome[] = [];

const obstacle = labObstacle();
// Some quick tests compare with Debian's sfdisk, busybox and xz: set up before both levels.
if (!obstacle) await setup({ purpose: "test", architectures: ["amd64"] });
if (everything || quickFiles.length > 0) outcomes.push(await runLevel("quick", quickFiles));
if (!values.quick && (everything || labFiles.length > 0)) {
  if (obstacle) process.stdout.write(`lab: skipped, ${obstacle}\n`);
  else {
    outcomes.push(
      await runLevel("lab", [
        "--config",
        "ava.lab.config.js",
        "--serial",
        "--concurrency",
        "1",
        ...labFiles,
      ]),
    );
  }
}

const total = outcomes.reduce(
  (sum, outcome) => ({ passed: sum.passed + outcome.passed, failed: sum.failed + outcome.failed }),
  { passed: 0, failed: 0 },
);
process.stdout.write(`${total.passed} passed, ${total.failed} failed\n`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;

function isLab(file: string): boolean {
  return /(^|\/)test\/(lab|peer|e2e)\//.test(file);
}
