/**
 * What must not survive a laboratory run: processes, namespaces, files.
 *
 * Every maker registers how to undo its work at the moment the work exists.
 * The undoing is synchronous, newest first, and also runs from the `exit`
 * event, so that an exception or a signal leaves nothing behind.
 */

export interface Cleanup {
  /** Registers `undo`; the returned function takes it off the list without running it. */
  add(what: string, undo: () => void): () => void;
  /** Undoes everything, newest first. A step that fails is reported and does not stop the others. */
  run(): void;
}

export function createCleanup(warn: (line: string) => void = console.error): Cleanup {
  const steps: { readonly what: string; readonly undo: () => void }[] = [];
  const run = () => {
    for (let step = steps.pop(); step; step = steps.pop()) {
      try {
        step.undo();
      } catch (error) {
        warn(`clean-up of ${step.what} failed: ${String(error)}`);
      }
    }
    process.off("exit", run);
  };
  process.on("exit", run);
  return {
    add(what, undo) {
      const step = { what, undo };
      steps.push(step);
      return () => {
        const at = steps.indexOf(step);
        if (at >= 0) steps.splice(at, 1);
      };
    },
    run,
  };
}

/**
 * Runs `cleanup` and ends the process on Ctrl-C, SIGTERM or a closed terminal; 128 + signal number as exit code.
 *
 * @returns takes that back, for a time in which a signal means "go on".
 */
export function cleanUpOnSignals(cleanup: Cleanup, before: () => void = () => {}): () => void {
  const numbers = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
  const handlers = Object.entries(numbers).map(([signal, number]) => {
    const handler = () => {
      before();
      cleanup.run();
      process.exit(128 + number);
    };
    process.once(signal, handler);
    return () => void process.off(signal, handler);
  });
  return () => {
    for (const off of handlers) off();
  };
}

/** True while a process with this id exists. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Ends one process we started; nothing happens when it has ended already. */
export function endProcess(pid: number | undefined, signal: NodeJS.Signals = "SIGKILL"): void {
  if (pid === undefined) return;
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
