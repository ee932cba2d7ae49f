/** What the processes of a laboratory need of the machine's memory. */

import { readFileSync } from "node:fs";
import { run } from "./command.ts";

/** MiB of all processes in namespaces whose names begin so; a shared page counts once (PSS). */
export function memoryOf(prefix: string): number {
  const names = run("ip", ["netns", "list"])
    .split("\n")
    .map((line) => line.split(" ")[0] ?? "")
    .filter((name) => name.startsWith(`${prefix}-`));
  const pids = names.flatMap((name) => run("ip", ["netns", "pids", name]).split(/\s+/));
  const kib = pids.filter(Boolean).reduce((sum, pid) => sum + proportionalKib(pid), 0);
  return Math.round(kib / 1024);
}

function proportionalKib(pid: string): number {
  try {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
    return Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0);
  } catch {
    return 0; // it has just ended
  }
}
