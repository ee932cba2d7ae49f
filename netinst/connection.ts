/**
 * HTTPS to the server's agent listener: TLS 1.3, the site's authority as the only root, and the
 * node's certificate once it has one. One request, one answer; retrying is the caller's.
 */

import type { IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import type { Problem } from "#protocol/problem.ts";
import { NetworkError, ProblemError } from "./errors.ts";

export interface ClientCredential {
  /** PEM, PKCS #8. */
  readonly key: string;
  /** PEM. */
  readonly certificate: string;
}

export interface Connection {
  /** Sends JSON, or octets as they are. Undefined for 204. @throws NetworkError, ProblemError */
  post(path: string, body: unknown, signal: AbortSignal): Promise<unknown>;
  /** @param timeoutMs - longest silence, longer than the server holds a long poll */
  get(path: string, timeoutMs: number, signal: AbortSignal): Promise<unknown>;
  /** Ends what is open and unused; the next request goes on with the TLS session. */
  rest(): void;
  close(): void;
}

const defaultTimeoutMs = 15_000;
/** The server answers when its disk has taken them: one that is busy may need a while. */
const uploadTimeoutMs = 60_000;
const downloadTimeoutMs = 30_000;
/** Longest answer believed: an assignment with a few hundred keys is far below. */
const maxAnswerOctets = 1 << 20;

/** What is too long to be held in memory. */
export interface Downloader {
  /** The octets of an answer, as they come. @throws NetworkError, ProblemError */
  stream(path: string, signal: AbortSignal): AsyncGenerator<Buffer, void>;
}

/** @param authority - PEM of the site's authority, from the signed discovery answer */
export function connect(
  url: string,
  authority: string,
  credential?: ClientCredential,
): Connection & Downloader {
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 4,
    minVersion: "TLSv1.3",
    ca: authority,
    ...(credential === undefined ? {} : { key: credential.key, cert: credential.certificate }),
  });
  const open = (
    method: string,
    path: string,
    body: string | Uint8Array | undefined,
    timeoutMs: number,
    signal: AbortSignal,
  ) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = request(new URL(path, url), {
        method,
        agent,
        signal,
        timeout: timeoutMs,
        headers: {
          accept: "application/json",
          ...(body === undefined
            ? {}
            : {
                "content-type":
                  typeof body === "string" ? "application/json" : "application/octet-stream",
                "content-length": Buffer.byteLength(body),
              }),
        },
      });
      outgoing.on("timeout", () => outgoing.destroy(new Error(`silent for ${timeoutMs} ms`)));
      outgoing.on("error", (cause) =>
        reject(new NetworkError(`${method} ${path} at ${url}`, { cause })),
      );
      outgoing.on("response", resolve);
      outgoing.end(body);
    });
  const send = async (...wanted: Parameters<typeof open>): Promise<unknown> =>
    await answerOf(await open(...wanted), url);
  return {
    post: (path, body, signal) =>
      body instanceof Uint8Array
        ? send("POST", path, body, uploadTimeoutMs, signal)
        : send("POST", path, JSON.stringify(body), defaultTimeoutMs, signal),
    async *stream(path, signal) {
      const incoming = await open("GET", path, undefined, downloadTimeoutMs, signal);
      if (incoming.statusCode !== 200) await answerOf(incoming, url);
      try {
        yield* incoming as AsyncIterable<Buffer>;
      } catch (cause) {
        throw new NetworkError(`GET ${path} at ${url}`, { cause });
      } finally {
        incoming.destroy();
      }
    },
    get: (path, timeoutMs, signal) => send("GET", path, undefined, timeoutMs, signal),
    rest() {
      // Not ended: one that fades away could be taken for the next request.
      for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy();
    },
    close: () => agent.destroy(),
  };
}

/** @throws NetworkError, ProblemError */
async function answerOf(incoming: IncomingMessage, url: string): Promise<unknown> {
  const parts: Buffer[] = [];
  let octets = 0;
  try {
    for await (const part of incoming as AsyncIterable<Buffer>) {
      octets += part.length;
      if (octets > maxAnswerOctets) throw new Error("the answer is too long");
      parts.push(part);
    }
  } catch (cause) {
    throw new NetworkError(`the connection broke in an answer of ${url}`, { cause });
  }
  return readAnswer(incoming.statusCode ?? 0, Buffer.concat(parts).toString("utf8"));
}

function readAnswer(status: number, text: string): unknown {
  if (status === 204) return undefined;
  const value = parseJson(text);
  if (status >= 200 && status < 300) {
    if (value === undefined) throw new NetworkError("the server's answer is not JSON");
    return value;
  }
  const problem = (value ?? {}) as Partial<Problem>;
  const code =
    String(problem.type ?? "")
      .split("/")
      .at(-1) || "unknown";
  throw new ProblemError(status, code, problem.detail ?? problem.title ?? text.slice(0, 200));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
