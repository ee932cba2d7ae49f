/**
 * Capture: sends what is on a disk, packed, to the server. The disk is opened for reading alone, its
 * partitions are read-only loop devices, and no journal of a file system is replayed.
 */

import { existsSync, statfsSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants, createZstdCompress } from "node:zlib";
import type { CaptureAssignment } from "#protocol/agent.ts";
import type { Connection } from "../connection.ts";
import type { Console } from "../console.ts";
import { chooseDisk } from "../disk.ts";
import { AgentError } from "../errors.ts";
import { readHardware } from "../hardware.ts";
import { openCollector } from "../memory.ts";
import type { Reporter } from "../report.ts";
import type { Settings } from "../settings.ts";
import { upload } from "../upload.ts";
import { captureDisk } from "./capture-disk.ts";
import { withRootOf } from "./capture-root.ts";
import { tarOf, type Walked, walk } from "./capture-tree.ts";
import { identityPaths, matcherOf, passingPaths } from "./left-out.ts";
import { meter } from "./meter.ts";

export interface CaptureContext {
  readonly settings: Settings;
  readonly assignment: CaptureAssignment;
  readonly reporter: Pick<Reporter, "progress">;
  readonly console: Console;
  /** The connection of the moment. */
  readonly connection: () => Connection;
  /** First delay after a failure; default 1000. */
  readonly retryMs?: number;
}

/** Fast enough for the network of a small board. */
const packing = { params: { [constants.ZSTD_c_compressionLevel]: 3 } };

/** Resolves when the server has everything on its disk. @throws AgentError */
export async function capture(context: CaptureContext, signal: AbortSignal): Promise<void> {
  const { settings, assignment, reporter, console } = context;
  reporter.progress("preparing", 0);
  const { disks } = readHardware("/sys", settings.diskFile);
  const disk = chooseDisk(disks, assignment.disk, 0);
  const path = settings.diskFile ?? `/dev/${disk.name}`;
  const isRaw = assignment.format === "raw";
  const what = isRaw ? "every octet that is in use" : "the files of its system";
  console.info(`capturing ${what} of ${path}, which is only read`);
  if (isRaw) {
    const chunks = captureDisk({ path, sizeBytes: disk.sizeBytes, ...context }, signal);
    return await send(context, chunks, disk.sizeBytes, signal);
  }
  await withRootOf(path, context, (root) => sendTree(context, root, signal));
}

async function sendTree(context: CaptureContext, root: string, signal: AbortSignal): Promise<void> {
  const { assignment, console } = context;
  if (!existsSync(`${root}/etc`)) throw new AgentError("the system on the disk has no /etc");
  const walked: Walked = { files: 0, special: 0, leftOut: [] };
  const isLeftOut = matcherOf([...identityPaths, ...passingPaths, ...assignment.leaveOut]);
  const { blocks, bfree, bsize } = statfsSync(root);
  const names = walk(root, isLeftOut, walked);
  await send(context, tarOf(root, names), (blocks - bfree) * bsize, signal);
  console.info(`left out: ${walked.leftOut.join(" ") || "nothing"}`);
  if (walked.special > 0) {
    console.info(`${walked.special} devices, pipes and sockets were left out`);
  }
}

/** @param total - octets to come, perhaps a few more or less */
async function send(
  context: CaptureContext,
  chunks: AsyncIterable<Buffer>,
  total: number,
  signal: AbortSignal,
): Promise<void> {
  const { settings, reporter, console } = context;
  const tick = meter("sending", total, reporter);
  const collect = openCollector();
  let read = 0;
  async function* counted(): AsyncGenerator<Buffer, void> {
    for await (const chunk of chunks) {
      read += chunk.length;
      tick(Math.min(read, total));
      yield chunk;
      collect(chunk.length);
    }
  }
  let sent = 0;
  await pipeline(
    Readable.from(counted(), { objectMode: false, highWaterMark: 1 << 20 }),
    createZstdCompress(packing),
    async (packed: AsyncIterable<Buffer>) => {
      sent = await upload({ ...context, bootId: settings.bootId }, packed, signal);
    },
    { signal },
  ).catch((error: unknown) => {
    throw signal.aborted ? signal.reason : error;
  });
  console.info(`sent ${read} octets, packed ${sent}`);
}
