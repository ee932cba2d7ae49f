/**
 * The resident agent's own program: fetched, checked, and left beside the one that runs, for the
 * script that starts it (steps/resident-service.ts) to try.
 *
 *   agent.squashfs   what runs
 *   next.squashfs    whole, checked and on the disk: tried once at the next start
 *   next.running     it has been started: when it is found at a start, it did not reach the server
 *   tried.json       how often which program was tried
 *
 * A program that has checked in takes the place of the one before; until then nothing is lost.
 */

import { createHash } from "node:crypto";
import { createReadStream, renameSync, rmSync, statfsSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { AgentUpdate } from "#protocol/agent.ts";
import type { AgentProgram } from "#protocol/node.ts";
import type { Downloader } from "./connection.ts";
import { syncDirectory } from "./durable.ts";
import { AgentError } from "./errors.ts";
import { readText } from "./settings.ts";

export interface AgentHome {
  /** `/var/lib/marcoboot` */
  readonly directory: string;
  /** This program has not checked in from here before. */
  readonly isTrial: boolean;
}

export const programFile = "agent.squashfs";
export const nextFile = "next.squashfs";
export const runningFile = "next.running";
const triedFile = "tried.json";
const partFile = "next.part";
/** Left free on the node's disk. */
const reserveBytes = 16 << 20;

/** What runs, and what was tried in vain. @throws Error when its file cannot be read */
export async function ownProgram({ directory, isTrial }: AgentHome): Promise<AgentProgram> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(join(directory, isTrial ? nextFile : programFile)), hash);
  const digest = hash.digest("hex");
  const tried = readTried(directory);
  return { digest, ...(tried && tried.digest !== digest && { tried }) };
}

/** After the first check-in of a program on trial: it is the one from now on. */
export async function keepProgram({ directory }: AgentHome): Promise<void> {
  renameSync(join(directory, nextFile), join(directory, programFile));
  await syncDirectory(directory);
  rmSync(join(directory, runningFile), { force: true });
  rmSync(join(directory, triedFile), { force: true });
}

/**
 * Resolves when the next start tries the update.
 *
 * @throws AgentError, NetworkError, ProblemError; the next start is as before then
 */
export async function fetchProgram(
  { directory }: AgentHome,
  { digest, sizeBytes }: AgentUpdate,
  connection: Downloader,
  signal: AbortSignal,
): Promise<void> {
  const { bavail, bsize } = statfsSync(directory);
  if (bavail * bsize < sizeBytes + reserveBytes) {
    throw new AgentError(
      `${directory} has ${bavail * bsize} bytes free, the new agent needs ${sizeBytes}`,
    );
  }
  const part = join(directory, partFile);
  rmSync(part, { force: true });
  try {
    await using file = await open(part, "wx", 0o644);
    await download(file, { digest, sizeBytes }, connection, signal);
    await file.sync();
    await recordTry(directory, digest);
    rmSync(join(directory, runningFile), { force: true });
    renameSync(part, join(directory, nextFile));
    await syncDirectory(directory);
  } finally {
    rmSync(part, { force: true });
  }
}

async function download(
  file: FileHandle,
  { digest, sizeBytes }: AgentUpdate,
  connection: Downloader,
  signal: AbortSignal,
): Promise<void> {
  const hash = createHash("sha256");
  let length = 0;
  for await (const chunk of connection.stream(`/agent/v1/agent/${digest}`, signal)) {
    length += chunk.length;
    if (length > sizeBytes) throw new AgentError(`the new agent is longer than ${sizeBytes} bytes`);
    hash.update(chunk);
    await file.writeFile(chunk);
  }
  const found = hash.digest("hex");
  if (found !== digest) {
    throw new AgentError(`sha-256 of the new agent is ${found} instead of ${digest}`);
  }
}

/** Before it is tried, so that a program that takes the machine down counts too. */
async function recordTry(directory: string, digest: string): Promise<void> {
  const before = readTried(directory);
  const times = before?.digest === digest ? before.times + 1 : 1;
  const path = join(directory, triedFile);
  {
    await using file = await open(`${path}.new`, "w", 0o644);
    await file.writeFile(`${JSON.stringify({ digest, times })}\n`);
    await file.sync();
  }
  renameSync(`${path}.new`, path);
  await syncDirectory(directory);
}

function readTried(directory: string): AgentProgram["tried"] {
  try {
    const { digest, times } = JSON.parse(readText(join(directory, triedFile)) ?? "{}") as {
      readonly digest?: unknown;
      readonly times?: unknown;
    };
    return typeof digest === "string" && typeof times === "number" ? { digest, times } : undefined;
  } catch {
    return undefined; // damaged: it counts from the beginning
  }
}
