/**
 * Debian packages that the machine itself needs.
 *
 * While apt works, policy-rc.d refuses every start of a service: a package such as
 * dnsmasq or redis-server must not begin to serve on the machine's own network.
 */

import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createInterface } from "node:readline";
import type { Progress } from "../../netinst/initramfs/command.ts";
import { SetupError } from "./error.ts";

const policy = "/usr/sbin/policy-rc.d";
const savedPolicy = `${policy}.marcoboot-saved`;
/** 101: action forbidden by policy (invoke-rc.d). */
const refusal =
  "#!/bin/sh\n# marcoboot: no service is started while its packages are installed\nexit 101\n";

/**
 * Installs what is missing; nothing missing: nothing is done.
 *
 * @throws SetupError when not on Debian, not root, or apt fails
 */
export async function ensurePackages(names: readonly string[], log: Progress): Promise<void> {
  const missing = missingPackages(names);
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0) {
    throw new SetupError(
      `Debian packages are missing: ${missing.join(" ")}`,
      `run as root, or: sudo apt-get install --no-install-recommends ${missing.join(" ")}`,
    );
  }
  const begun = performance.now();
  const seconds = () => ((performance.now() - begun) / 1000).toFixed(0);
  log(`installing ${missing.length} Debian packages: ${missing.join(" ")}`);
  const release = forbidServices();
  try {
    if (!hasPackageLists()) await apt(["update"], log, seconds);
    const install = ["install", "--yes", "--no-install-recommends", ...missing];
    const failure = await apt(install, log, seconds);
    // Lists that are too old name versions the archive no longer has: read them again, once.
    if (failure) {
      await apt(["update"], log, seconds);
      const again = await apt(install, log, seconds);
      if (again) {
        throw new SetupError(
          `apt-get install failed: ${again}`,
          `try by hand: apt-get install --no-install-recommends ${missing.join(" ")}`,
        );
      }
    }
  } finally {
    release();
  }
  log(`Debian packages installed: ${seconds()} s`);
}

/** @throws SetupError where there is no dpkg */
export function missingPackages(names: readonly string[]): readonly string[] {
  const shown = spawnSync(
    "dpkg-query",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own placeholders
    ["--show", "--showformat", "${Package} ${db:Status-Status}\\n", ...names],
    { encoding: "utf8" },
  );
  if (shown.error) {
    throw new SetupError(
      "dpkg-query is not there: this machine does not look like Debian",
      "use Debian 12 or newer",
      { cause: shown.error },
    );
  }
  const installed = new Set(
    shown.stdout
      .split("\n")
      .filter((line) => line.endsWith(" installed"))
      .map((line) => line.split(" ")[0]),
  );
  return names.filter((name) => !installed.has(name));
}

function hasPackageLists(): boolean {
  const lists = "/var/lib/apt/lists";
  return existsSync(lists) && readdirSync(lists).some((name) => name.includes("_Packages"));
}

/** @returns the last complaint when apt failed; a line of progress every 5 s meanwhile */
function apt(
  args: readonly string[],
  log: Progress,
  seconds: () => string,
): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const child = spawn("apt-get", ["-q", "-o", "Dpkg::Use-Pty=0", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" },
  });
  let last = args[0] ?? "";
  let complaint = "";
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (line.trim()) last = line.trim();
  });
  createInterface({ input: child.stderr }).on("line", (line) => {
    if (line.trim()) complaint = line.trim();
  });
  const ticking = setInterval(() => log(`  ${seconds()} s: ${last.slice(0, 100)}`), 5000);
  const end = (failure: string | undefined) => {
    clearInterval(ticking);
    resolve(failure);
  };
  child.on("error", (cause) => end(cause.message));
  child.on("close", (code) => end(code === 0 ? undefined : complaint || `status ${code}`));
  return promise;
}

/** @returns the function that puts the machine's own policy back, also when the process is ended */
function forbidServices(): () => void {
  restorePolicy(); // of a run that was killed
  if (existsSync(policy)) renameSync(policy, savedPolicy);
  writeFileSync(policy, refusal);
  chmodSync(policy, 0o755);
  const interrupted = () => process.exit(130); // runs the listener of "exit"
  process.on("exit", restorePolicy);
  process.on("SIGINT", interrupted);
  process.on("SIGTERM", interrupted);
  return () => {
    process.off("exit", restorePolicy);
    process.off("SIGINT", interrupted);
    process.off("SIGTERM", interrupted);
    restorePolicy();
  };
}

function restorePolicy(): void {
  const isOurs = existsSync(policy) && readFileSync(policy, "utf8") === refusal;
  if (isOurs) rmSync(policy);
  if (existsSync(savedPolicy)) renameSync(savedPolicy, policy);
}
