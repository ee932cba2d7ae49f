/** Brings a file of the library to this machine: written beside, flushed, renamed over. */

import { randomBytes } from "node:crypto";
import { open, rename, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { CopyAssignment } from "#protocol/agent.ts";
import { manifestOf } from "../../images/manifest.ts";
import type { Console } from "../console.ts";
import { syncDirectory } from "../durable.ts";
import { AgentError, reasonOf } from "../errors.ts";
import { streamImage } from "../image-stream.ts";
import type { Reporter } from "../report.ts";
import { meter } from "./meter.ts";

export interface CopyContext {
  readonly assignment: CopyAssignment;
  readonly reporter: Pick<Reporter, "progress">;
  readonly console: Console;
  /** A relative address of the file is taken from there. */
  readonly bootUrl: string;
}

/** Its directory must be there: one that is not is a mistake, or a file system that is not mounted. @throws AgentError; the file is as it was then */
export async function copyFile(context: CopyContext, signal: AbortSignal): Promise<void> {
  const { assignment, reporter, console, bootUrl } = context;
  const { image, ticket, path, mode } = assignment;
  const manifest = manifestOf(image);
  const url = new URL(image.url, bootUrl).href;
  const tick = meter("copying", manifest.sizeBytes, reporter);
  const directory = dirname(path);
  const temporary = join(directory, `.${basename(path)}.${randomBytes(6).toString("hex")}`);
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await streamImage(
        { url, ticket, manifest, console },
        async (chunk, position) => {
          await file.writeFile(chunk);
          tick(position + chunk.length);
        },
        signal,
      );
      await file.chmod(mode);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncDirectory(directory);
  } catch (error) {
    await unlink(temporary).catch(() => undefined); // the first error is the one to tell
    if (error instanceof AgentError || signal.aborted) throw error;
    throw new AgentError(`${path} could not be written: ${reasonOf(error)}`, { cause: error });
  }
}
