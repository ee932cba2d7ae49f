/**
 * Sends a stream of unknown length to the server over the agent's own TLS, in parts of at most
 * 1 MiB. A part that was not answered is sent again: the server keeps it once.
 */

import { createHash } from "node:crypto";
import type { CaptureAssignment, CaptureEnd } from "#protocol/agent.ts";
import type { Connection } from "./connection.ts";
import type { Console } from "./console.ts";
import {
  type AgentError,
  AttemptEndedError,
  NetworkError,
  ProblemError,
  reasonOf,
} from "./errors.ts";
import { backOff, sleep } from "./wait.ts";

export interface UploadContext {
  readonly assignment: Pick<CaptureAssignment, "taskId" | "epoch">;
  readonly bootId: string;
  /** The connection of the moment. */
  readonly connection: () => Connection;
  readonly console: Console;
  /** First delay after a failure; default 1000. */
  readonly retryMs?: number;
}

const partOctets = 1 << 20;
/** Failures in a row: some 15 minutes without the server, one without room on its disk. */
const tries = { away: 40, refusing: 5 };

/**
 * @returns how much was sent, compressed or not
 * @throws NetworkError when the server stayed away; AttemptEndedError, AgentError when it wants no more
 */
export async function upload(
  context: UploadContext,
  chunks: AsyncIterable<Buffer>,
  signal: AbortSignal,
): Promise<number> {
  const { assignment, bootId, connection } = context;
  const { taskId, epoch } = assignment;
  const hash = createHash("sha256");
  const part = Buffer.allocUnsafe(partOctets);
  let filled = 0;
  let sent = 0;
  const sendPart = async () => {
    const bytes = part.subarray(0, filled);
    hash.update(bytes);
    const where = `task=${encodeURIComponent(taskId)}&epoch=${epoch}&boot=${bootId}&at=${sent}`;
    const path = `/agent/v1/capture?${where}`;
    await insist(context, () => connection().post(path, bytes, signal), signal);
    sent += filled;
    filled = 0;
  };
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      const count = chunk.copy(part, filled, at);
      at += count;
      filled += count;
      if (filled === partOctets) await sendPart();
    }
  }
  if (filled > 0) await sendPart();
  const end: CaptureEnd = { taskId, epoch, bootId, octets: sent, digest: hash.digest("hex") };
  await insist(context, () => connection().post("/agent/v1/capture/end", end, signal), signal);
  return sent;
}

async function insist(
  { console, retryMs = 1000 }: UploadContext,
  send: () => Promise<unknown>,
  signal: AbortSignal,
): Promise<void> {
  for (let failures = 1; ; failures++) {
    try {
      await send();
      return;
    } catch (error) {
      signal.throwIfAborted();
      const isRefusing = error instanceof ProblemError;
      if (isRefusing && !error.retryable) throw refusalOf(error);
      if (failures >= (isRefusing ? tries.refusing : tries.away)) throw error;
      console.info(`upload: ${reasonOf(error)}; trying again`);
    }
    await sleep(backOff(failures, retryMs, 30_000), signal);
    signal.throwIfAborted();
  }
}

function refusalOf(error: ProblemError): AgentError {
  if (error.code === "attempt-superseded") return new AttemptEndedError(error.message);
  // What came before is not there any more, as after a power cut of the server.
  if (error.code === "conflict")
    return new NetworkError("the server lost a part", { cause: error });
  return error;
}
