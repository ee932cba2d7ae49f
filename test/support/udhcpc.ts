/** Debian's udhcpc as a client: what it was told, as its script gets it. */

import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import type { Namespace } from "./namespaces.ts";
import { temporaryDirectory } from "./temporary.ts";

export interface Lease {
  readonly status: number | null;
  readonly lease: Readonly<Record<string, string>>;
}

/** Where nobody answers: three tries, one second apart. */
export const hurried = ["-t", "3", "-T", "1"] as const;
/** Where it is answered sooner or later. */
export const insistent = ["-t", "30", "-T", "1"] as const;

/** Asks once more after 10 s, so that even a busy machine is asked once, unless `flags` say otherwise. */
export function udhcpc(
  t: ExecutionContext,
  where: Namespace,
  name: string,
  ...flags: string[]
): Lease {
  const script = join(temporaryDirectory(t), "script");
  writeFileSync(script, '#!/bin/sh\n[ "$1" = bound ] && exec env\nexit 0\n', { mode: 0o755 });
  const { status, stdout } = spawnSync(
    "ip",
    [
      ...["netns", "exec", where.name, "udhcpc", "-i", name, "-f", "-n", "-q"],
      ...["-t", "5", "-T", "10", "-A", "1", "-s", script, ...flags],
    ],
    { encoding: "utf8", timeout: 60_000 },
  );
  const pairs = stdout.split("\n").map((line) => line.split(/=(.*)/s).slice(0, 2));
  return { status, lease: Object.fromEntries(pairs) as Record<string, string> };
}

/** In words, why programs cannot be tried here; undefined when they can. */
export function whatIsMissing(...programs: readonly string[]): string | undefined {
  if (process.getuid?.() !== 0) return "root is needed for network namespaces";
  const absent = ["ip", ...programs].find(
    (program) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0,
  );
  return absent && `${absent} is not installed`;
}
