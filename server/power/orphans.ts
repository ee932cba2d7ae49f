/**
 * Power programs whose server was killed. They are found by a mark in their environment,
 * which names the server by process id and start time: ids are reused, the pair is not.
 * Nothing is written down that a kill could come before.
 */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { milliseconds } from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";

const markName = "MARCOBOOT_SERVER";
/** A process that the kernel does not let go of (a dead disk) must not keep the server from starting. */
const endWithin = milliseconds(10_000);
const lookPeriod = milliseconds(20);

/** What the programs of this process have in their environment. */
export function ownerMark(): Readonly<Record<string, string>> {
  return { [markName]: `${process.pid} ${startOf(process.pid)}` };
}

/** Returns when no program of a server that has ended runs any more. */
export async function endOrphans({
  clock,
  log,
}: {
  readonly clock: Pick<Clock, "monotonic" | "sleep">;
  readonly log: Pick<Log, "warn" | "error">;
}): Promise<void> {
  const deadline = clock.monotonic() + endWithin;
  const told = new Set<number>();
  const groups = new Set<number>();
  for (;;) {
    const orphans = orphansNow();
    if (orphans.length === 0 && !groupsRun(groups)) return;
    if (clock.monotonic() >= deadline) {
      log.error({ processes: orphans }, "power programs of an earlier run do not end");
      return;
    }
    for (const pid of orphans) {
      if (!told.has(pid)) log.warn({ pid }, "ending a power program of an earlier run");
      told.add(pid);
      // Its group too: what it started may have an environment of its own.
      const group = groupOf(pid) ?? pid;
      groups.add(group);
      killGroup(group);
    }
    await clock.sleep(lookPeriod);
  }
}

/** @param group - process group id */
export function killGroup(group: number): void {
  try {
    process.kill(-group, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function orphansNow(): readonly number[] {
  const ours = namespaceOf("self");
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const owner = ownerOf(pid);
      // In another namespace the owner's process id means another process.
      return owner !== undefined && !isRunning(owner) && namespaceOf(pid) === ours;
    });
}

/** The mark in its environment; undefined for what is no program of ours, or has ended. */
function ownerOf(pid: number): string | undefined {
  return read(() => readFileSync(`/proc/${pid}/environ`, "utf8"))
    ?.split("\0")
    .find((one) => one.startsWith(`${markName}=`))
    ?.slice(markName.length + 1);
}

function isRunning(owner: string): boolean {
  const [pid, start] = owner.split(" ");
  return startOf(Number(pid)) === start;
}

function groupsRun(groups: ReadonlySet<number>): boolean {
  if (groups.size === 0) return false;
  return readdirSync("/proc").some((name) => {
    const stat = /^\d+$/.test(name) ? statOf(Number(name)) : undefined;
    return stat !== undefined && stat[0] !== "Z" && groups.has(Number(stat[2]));
  });
}

/** In clock ticks since the machine's start, proc(5) `starttime`; undefined when it has ended. */
function startOf(pid: number): string | undefined {
  const stat = statOf(pid);
  return stat?.[0] === "Z" ? undefined : stat?.[19]; // nobody has asked how it ended
}

function groupOf(pid: number): number | undefined {
  const group = statOf(pid)?.[2];
  return group === undefined ? undefined : Number(group);
}

/** proc(5) `stat` from its third field on: the second is a name, which may hold anything. */
function statOf(pid: number): readonly string[] | undefined {
  const text = read(() => readFileSync(`/proc/${pid}/stat`, "utf8"));
  return text?.slice(text.lastIndexOf(")") + 2).split(" ");
}

function namespaceOf(pid: number | "self"): string | undefined {
  return read(() => readlinkSync(`/proc/${pid}/ns/pid`));
}

/** Undefined when the process has gone, or is another user's. */
function read(work: () => string): string | undefined {
  try {
    return work();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH" || code === "EACCES" || code === "EPERM") {
      return undefined;
    }
    throw error;
  }
}
