/**
 * The journal's file, looked after while the server runs. Somebody may remove it: SQLite goes on with
 * a file that has no name, and all that is acknowledged from then on would be gone with the process.
 * So what it holds is written again under its name, each minute and at the end, until the server is
 * started anew. A file that somebody has put in its place is left alone.
 */

import { closeSync, fsyncSync, openSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { milliseconds } from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";
import type { EventBus } from "../events.ts";
import type { Log } from "../log.ts";
import type { Store } from "./store.ts";

const lookPeriod = milliseconds(15_000);
const savePeriod = milliseconds(60_000);

interface KeepContext {
  readonly path: string;
  readonly store: Pick<Store, "copyTo">;
  readonly events: Pick<EventBus, "publish">;
  readonly clock: Pick<Clock, "every" | "monotonic">;
  readonly log: Pick<Log, "error">;
}

/** Returns the function that ends it, to be called when nothing more is written. */
export function keepJournal({ path, store, events, clock, log }: KeepContext): () => void {
  const opened = inodeOf(path);
  /** Of the file that was written in place of the one that was removed. */
  let written: number | undefined;
  let savedAt = clock.monotonic();
  let isReplaced = false;
  let told = "";

  const alarm = (text: string) => {
    if (text === told) return;
    told = text;
    log.error({ path }, text);
    events.publish({ topic: "alarm", text });
  };
  const trySave = (): void => {
    try {
      save();
      alarm(
        `journal ${path} was removed under the running server and is written again, each minute and when the server ends: restart the server`,
      );
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      alarm(
        `journal ${path} was removed under the running server and cannot be written again (${reason}): what is told to it is lost when it ends`,
      );
    }
  };
  const save = (): void => {
    const copy = `${path}.again`;
    rmSync(copy, { force: true });
    closeSync(openSync(copy, "wx", 0o600));
    store.copyTo(copy);
    sync(copy);
    // They belong to the file that is gone: with this one they would be damage.
    for (const end of ["-wal", "-shm"]) rmSync(`${path}${end}`, { force: true });
    renameSync(copy, path);
    sync(dirname(path));
    written = inodeOf(path);
    savedAt = clock.monotonic();
  };
  const look = (): void => {
    const found = inodeOf(path);
    if (found === opened || isReplaced) return;
    if (found === undefined) trySave();
    else if (found !== written) {
      isReplaced = true;
      alarm(
        `journal ${path} was replaced under the running server, which goes on with the one before: restart the server; what it is told until then is lost`,
      );
    } else if (clock.monotonic() - savedAt >= savePeriod) trySave();
  };
  const stop = clock.every(lookPeriod, look);
  return () => {
    stop();
    const found = inodeOf(path);
    if (opened !== undefined && (found === undefined || found === written)) trySave();
  };
}

function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}

function sync(path: string): void {
  const file = openSync(path, "r");
  fsyncSync(file);
  closeSync(file);
}
