/**
 * CPU time of a server with all it starts and has started: a control group of its
 * own, so that a daemon's finished children count, and threads and helpers too.
 *
 * Work the kernel does in the name of the server counts; what a packet costs on its
 * way to the receiver is often done by the sender. It is the same for every contender.
 */

import { mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";

export interface CpuGroup {
  /** A process that writes its id here is counted from then on, with its children. */
  readonly procs: string;
  /** CPU seconds so far, user and system. */
  seconds(): number;
  /** After the last process ended; false while the kernel still counts one. */
  close(): boolean;
}

/** @throws Error when the kernel's control groups cannot be written */
export function openCpuGroup(name: string): CpuGroup {
  const mounts = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "));
  const unified = mounts.find(([, , type]) => type === "cgroup2")?.[1];
  const accounting = mounts.find(
    ([, , type, options]) => type === "cgroup" && options?.split(",").includes("cpuacct"),
  )?.[1];
  const failures: unknown[] = [];
  for (const open of [
    () => unified && openGroup(join(unified, name), "cpu.stat", readUsage),
    () => accounting && openGroup(join(accounting, name), "cpuacct.usage", readNanoseconds),
  ]) {
    try {
      const group = open();
      if (group) return group;
    } catch (error) {
      failures.push(error);
    }
  }
  throw new AggregateError(failures, "CPU time needs control groups that root may write");
}

function openGroup(directory: string, file: string, parse: (text: string) => number): CpuGroup {
  mkdirSync(directory, { recursive: true });
  const path = join(directory, file);
  parse(readFileSync(path, "utf8"));
  return {
    procs: join(directory, "cgroup.procs"),
    seconds: () => parse(readFileSync(path, "utf8")),
    close: () => {
      try {
        rmdirSync(directory);
        return true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "EBUSY") return false;
        throw error;
      }
    },
  };
}

function readUsage(text: string): number {
  const microseconds = /^usage_usec (?<value>\d+)$/m.exec(text)?.groups?.["value"];
  if (microseconds === undefined) throw new Error("cpu.stat has no usage_usec");
  return Number(microseconds) / 1e6;
}

function readNanoseconds(text: string): number {
  return Number(text) / 1e9;
}
