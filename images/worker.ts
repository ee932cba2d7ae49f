/**
 * The child process that takes one image in, and ends.
 *
 *   parent -> child   IngestRequest
 *   child  -> parent  {"kind":"progress","percent":n}… then "done" or "failed"
 */

import { constants, setPriority } from "node:os";
import { ProvisionError } from "../server/errors.ts";
import { type Ingested, type IngestRequest, ingest } from "./ingest.ts";

export type WorkerMessage =
  | { readonly kind: "progress"; readonly percent: number }
  | { readonly kind: "done"; readonly ingested: Ingested }
  | { readonly kind: "failed"; readonly code: string; readonly message: string };

setPriority(constants.priority.PRIORITY_LOW); // the boot services come first
process.once("disconnect", () => process.exit(1)); // the server is gone: nobody would publish it
process.once("message", (request) => void run(request as IngestRequest));

async function run(request: IngestRequest): Promise<void> {
  const tell = (message: WorkerMessage) =>
    new Promise<void>((resolve) => {
      if (process.send) process.send(message, () => resolve());
      else resolve();
    });
  try {
    const ingested = await ingest(request, (percent) => void tell({ kind: "progress", percent }));
    await tell({ kind: "done", ingested });
  } catch (error) {
    const code = error instanceof ProvisionError ? error.code : "unavailable";
    await tell({ kind: "failed", code, message: (error as Error).message });
  }
  process.exit(0);
}
