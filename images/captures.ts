/** From what an agent sent of a node's disk to an image of the library. */

import { isFinished } from "#protocol/job.ts";
import type { EventBus } from "../server/events.ts";
import type { Captures } from "../server/job/kind.ts";
import type { Log } from "../server/log.ts";
import type { Library } from "./library.ts";
import type { Uploads } from "./uploads.ts";

interface CapturesContext {
  readonly uploads: Pick<Uploads, "finished" | "discard">;
  readonly library: Pick<Library, "add">;
  readonly events: Pick<EventBus, "on">;
  readonly log: Log;
}

export interface OpenCaptures extends Captures {
  close(): void;
}

export function createCaptures({ uploads, library, events, log }: CapturesContext): OpenCaptures {
  // Not before its task has ended: a server that is killed in the middle takes it in again.
  const close = events.on("task", ({ task }) => {
    if (task.kind !== "capture" || !isFinished(task.state)) return;
    uploads.discard(task.id).catch((error: unknown) => {
      log.warn({ err: error, task: task.id }, "what was sent of a disk is still here");
    });
  });
  return {
    close,
    async takeIn(key, described, checkWanted) {
      const upload = await uploads.finished(key);
      if (!upload) return undefined;
      const { path, digest: expectedDigest } = upload;
      return await library.add({ ...described, path, expectedDigest, isOurs: true, checkWanted });
    },
  };
}
