/**
 * Burn-in: memory, processor and disks at work for a while, each checking itself.
 *
 * The first fault of a part ends that part; the others are tested nevertheless. Only disks that
 * the guard allows are written, only when that was ordered, and never their first and last MiB,
 * where the tables lie: what is blank before is blank afterwards.
 */

import type { BurnInAssignment } from "#protocol/agent.ts";
import { whyGuarded } from "#protocol/disk.ts";
import type { BurnInResult, Disk } from "#protocol/node.ts";
import type { Console } from "../console.ts";
import { reasonOf } from "../errors.ts";
import { takeInventory } from "../hardware.ts";
import { testDisk } from "./test-disk.ts";
import { testMemory } from "./test-memory.ts";
import { testProcessor } from "./test-processor.ts";

export interface BurnInContext {
  readonly assignment: Pick<BurnInAssignment, "seconds" | "writeDisks" | "guard">;
  readonly console: Console;
  /** A file that plays the only disk; the memory is others' too then. */
  readonly diskFile?: string;
  /** 0-100. */
  readonly progress: (percent: number) => void;
}

/** What one part of the test is given. */
export interface TestTime {
  /** As `performance.now()` counts. */
  readonly until: number;
  /** Called between two steps of some 10 ms to 1 s. @throws when the test was called off */
  readonly pause: () => Promise<void>;
}

/** @returns what was done, for people. @throws AgentError with what is wrong */
type Test = (time: TestTime) => Promise<string>;

const all = Number.POSITIVE_INFINITY;
/** Tested by a simulated node at most. */
const sharedMiB = 64;

/** @throws the signal's reason when it was called off. A fault is a result, not an error. */
export async function burnIn(
  { assignment, console, diskFile, progress }: BurnInContext,
  signal: AbortSignal,
): Promise<readonly BurnInResult[]> {
  const { disks } = await takeInventory("/sys", diskFile);
  const fixed = disks.filter((disk) => !disk.removable);
  const diskShare = fixed.length === 0 ? 0 : 40;
  const memoryShare = (100 - diskShare) * 0.6;
  const parts: readonly (readonly [part: string, share: number, test: Test])[] = [
    ["memory", memoryShare, (time) => testMemory(time, diskFile === undefined ? all : sharedMiB)],
    ["cpu", 100 - diskShare - memoryShare, testProcessor],
    ...fixed.map((disk): readonly [string, number, Test] => [
      `disk ${disk.name}`,
      diskShare / fixed.length,
      (time) => testDisk(disk, { isWritten: mayWrite(disk, assignment), file: diskFile }, time),
    ]),
  ];
  const results: BurnInResult[] = [];
  let begun = 0;
  for (const [part, share, test] of parts) {
    const from = performance.now();
    const lasts = assignment.seconds * 10 * share;
    const pause = async () => {
      signal.throwIfAborted();
      progress(begun + share * Math.min(1, (performance.now() - from) / lasts));
      await new Promise((resolve) => setImmediate(resolve));
    };
    const result = await resultOf(part, () => test({ until: from + lasts, pause }), signal);
    console.info(`${part}: ${result.passed ? "good" : "FAULT"}, ${result.text}`);
    results.push(result);
    begun += share;
  }
  return results;
}

async function resultOf(
  part: string,
  test: () => Promise<string>,
  signal: AbortSignal,
): Promise<BurnInResult> {
  try {
    return { part, passed: true, text: await test() };
  } catch (error) {
    signal.throwIfAborted();
    return { part, passed: false, text: reasonOf(error) };
  }
}

function mayWrite(disk: Disk, { writeDisks, guard }: BurnInContext["assignment"]): boolean {
  return writeDisks && whyGuarded(disk, guard) === undefined;
}
