/**
 * `npm test`: sets up what is missing, then runs all levels and prints
 * `N passed, N failed` as its last line.
 *
 *   quick      units, vectors, captures, properties (ava.config.js)
 *   peer       real clients and servers, whole simulated sites, several at a time (ava.peer.config.js)
 *   firmware   real firmware, kernels and images in QEMU, two at a time (ava.firmware.config.js)
 *   lab        namespaces, a browser, one after the other (ava.lab.config.js)
 *
 * All but the first need root and Linux namespaces. Where three files at most failed beside others,
 * each is run once more alone: what passes then counts as passed and is named as unsteady.
 *
 *   npm test [-- --quick] [-- <files…>]
 */

import { spawn, spawnSync } from "node:child_process";
import { existsSync, globSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setup } from "./setup.ts";
import { fileOfTitle } from "./test/title-file.ts";
import { readArguments } from "./usage.ts";

const root = join(import.meta.dirname, "..");
const compiled = join(root, "node_modules", ".cache", "compiled");

interface Outcome {
  readonly passed: number;
  readonly failed: readonly Failure[];
}

interface Failure {
  readonly title: string;
  /** What AVA printed below the title. */
  readonly lines: string[];
}

/** Files that are run once more alone; when more failed, it was not by chance. */
const UNSTEADY_FILES_MAX = 3;

/** How many lines of AVA's standard error are repeated when it failed and named no test. */
const LAST_ERRORS = 30;

const levels = [
  { name: "quick", path: /^/, args: [] },
  { name: "peer", path: /(^|\/)test\/(peer|site)\//, args: ["--config", "ava.peer.config.js"] },
  {
    name: "firmware",
    path: /(^|\/)test\/firmware\//,
    args: ["--config", "ava.firmware.config.js"],
  },
  {
    name: "lab",
    path: /(^|\/)test\/(lab|e2e)\//,
    args: ["--config", "ava.lab.config.js", "--serial", "--concurrency", "1"],
  },
] as const;
type Level = (typeof levels)[number];

/** The last that fits: the first one takes what no other names. */
function levelOf(file: string): Level["name"] {
  return (levels.findLast(({ path }) => path.test(file)) ?? levels[0]).name;
}

/** Why namespaces and machines cannot run here, in words; `undefined` when it can. */
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
      stdio: ["ignore", "pipe", "pipe"],
      // Each file has a thread of its own, which would compile the same modules again.
      env: { ...process.env, NODE_COMPILE_CACHE: compiled },
    });
    child.on("error", reject);
    let passed = 0;
    const failed: Failure[] = [];
    let showing = false;
    const lastErrors: string[] = [];
    createInterface({ input: child.stderr }).on("line", (line) => {
      process.stderr.write(`${line}\n`);
      lastErrors.push(line);
      if (lastErrors.length > LAST_ERRORS) lastErrors.shift();
    });
    const output = createInterface({ input: child.stdout });
    output.on("line", (line) => {
      const verdict = /^(not )?ok \d+ - (.*)$/.exec(line);
      if (!verdict) {
        if (showing || /^(#|Bail out)/.test(line)) process.stdout.write(`${line}\n`);
        if (showing) failed.at(-1)?.lines.push(line);
        return;
      }
      showing = verdict[1] !== undefined;
      if (showing) failed.push({ title: verdict[2] ?? "", lines: [] });
      else passed += 1;
      const seconds = ((performance.now() - started) / 1000).toFixed(0);
      if (showing || name !== "quick") process.stdout.write(`${seconds.padStart(5)} s  ${line}\n`);
    });
    output.on("line", (line) => {
      // AVA's word for a file that ended before its tests did, which is no failed test to it.
      const remaining = /^# (\d+ tests? remaining in .*)$/.exec(line)?.[1];
      if (remaining) failed.push({ title: remaining, lines: [] });
    });
    child.on("close", (code) => {
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      // A crash outside any test (a broken import, an unhandled rejection) must count too.
      if (code !== 0 && failed.length === 0) {
        failed.push({ title: `${name}: AVA ended with ${code}`, lines: lastErrors });
      }
      process.stdout.write(`${name}: ${passed} passed, ${failed.length} failed in ${seconds} s\n`);
      resolve({ passed, failed });
    });
  });
}

function print(verdict: string, { title, lines }: Failure): void {
  process.stdout.write(`${[`${verdict}: ${title}`, ...lines].join("\n")}\n`);
}

/**
 * Runs the files of failed tests again, one alone after the other.
 *
 * @returns those of files that failed again, or whose file is not known
 */
async function runAlone(failed: readonly Failure[]): Promise<readonly Failure[]> {
  const files = globSync("test/**/*.test.ts", { cwd: root });
  const byFile = Map.groupBy(failed, ({ title }) => fileOfTitle(title, files));
  if (byFile.has(undefined) || byFile.size > UNSTEADY_FILES_MAX) return failed;
  const still: Failure[] = [];
  for (const [file, failures] of byFile) {
    if (file === undefined) continue;
    process.stdout.write(`again, alone: ${file}\n`);
    const { args } = levels.find(({ name }) => name === levelOf(file)) ?? levels[0];
    const { passed, failed: again } = await runLevel(file, [...args, file]);
    if (passed === 0 || again.length > 0) still.push(...failures);
    else for (const failure of failures) print("unsteady", failure);
  }
  return still;
}

const usage = `
npm test [-- options] [-- test files]: sets up what is missing, runs all tests

  --quick   only those that need no root
`;
const { values, positionals } = readArguments(usage, {
  options: { quick: { type: "boolean", default: false } },
  allowPositionals: true,
});
const outcomes: Outcome[] = [];

const obstacle = labObstacle();
// Some quick tests compare with Debian's sfdisk, busybox and xz: set up before all levels.
if (!obstacle) await setup({ purpose: "test", architectures: ["amd64"] });
for (const { name, args } of levels) {
  const files = positionals.filter((file) => levelOf(file) === name);
  if (positionals.length > 0 && files.length === 0) continue;
  if (name !== "quick" && values.quick) continue;
  if (name !== "quick" && obstacle) process.stdout.write(`${name}: skipped, ${obstacle}\n`);
  else outcomes.push(await runLevel(name, [...args, ...files]));
}

const failed = outcomes.flatMap((outcome) => outcome.failed);
const passed = outcomes.reduce((sum, outcome) => sum + outcome.passed, 0);
const still = failed.length > 0 && positionals.length === 0 ? await runAlone(failed) : failed;
for (const failure of still) print("failed", failure);
const passedAtLast = passed + failed.length - still.length;
process.stdout.write(`${passedAtLast} passed, ${still.length} failed\n`);
process.exitCode = still.length === 0 && passedAtLast > 0 ? 0 : 1;
