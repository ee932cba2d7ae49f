/**
 * One server at a time works in a state directory. A second one, started by mistake or because the
 * first stands still, would write the lease file anew under the first, which would go on with a file
 * that has no name; it would end the first one's Redis; and both would give orders to the same nodes.
 *
 * The lock is the kernel's (flock(2)): it ends with the process, however that ends, and not before.
 */

import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type Milliseconds, milliseconds } from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";
import { ConfigurationError, ConflictError, type ProvisionError } from "../errors.ts";
import { linux, loadCLibrary } from "../net/c-library.ts";

export const lockName = "server.lock";
/** A server that was killed just now may take a moment to be gone. */
const usualPatience = milliseconds(5000);
const lookPeriod = milliseconds(50);

/**
 * @param directory - that of the state
 * @returns the function that gives it back
 * @throws ConflictError naming the process that has it; ConfigurationError where nothing can be locked
 */
export async function lockState(
  directory: string,
  clock: Pick<Clock, "monotonic" | "sleep">,
  patience: Milliseconds = usualPatience,
): Promise<() => void> {
  const { flock, errno } = await loadCLibrary();
  const path = join(directory, lockName);
  const file = openSync(path, "a", 0o600);
  const deadline = clock.monotonic() + patience;
  while (flock(file, linux.lockExclusive | linux.lockAtOnce) !== 0) {
    const reason = errno();
    if (reason !== linux.again || clock.monotonic() >= deadline) {
      closeSync(file);
      throw refusal(directory, reason);
    }
    await clock.sleep(lookPeriod);
  }
  ftruncateSync(file);
  writeSync(file, `${process.pid}\n`); // for people: the lock does not rest on it
  return () => closeSync(file);
}

function refusal(directory: string, errno: number): ProvisionError {
  if (errno !== linux.again) {
    return new ConfigurationError(
      `${join(directory, lockName)} cannot be locked (errno ${errno}): use a local file system for stateDirectory`,
    );
  }
  const owner = readFileSync(join(directory, lockName), "utf8").trim();
  return new ConflictError(
    `another server (process ${owner}) works in ${directory}: end it first, or use another stateDirectory`,
  );
}
