/**
 * HTTPS to the server's agent listener: TLS 1.3, the site's authority as the only root, and the
 * node's certificate once it has one. One request, one answer; retrying is the caller's.
 */

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
/** Longest answer believed: an assignment with a few hundred keys is far below. */
const maxAnswerOctets = 1 << 20;

/** @param authority - PEM of the site's authority, from the signed discovery answer */
export function connect(url: string, authority: string, credential?: ClientCredential): Connection {
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 4,
    minVersion: "TLSv1.3",
    ca: authority,
    ...(credential === undefined ? {} : { key: credential.key, cert: credential.certificate }),
  });
  const send = (
    method: string,
    path: string,
    body: string | Uint8Array | undefined,
    timeoutMs: number,
    signal: AbortSignal,
  ) =>
    new Promise<unknown>((resolve, reject) => {
      const fail = (cause: unknown) =>
        reject(new NetworkError(`${method} ${path} at ${url}`, { cause }));
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
      outgoing.on("error", fail);
      outgoing.on("response", (incoming) => {
        const parts: Buffer[] = [];
        let octets = 0;
        incoming.on("data", (part: Buffer) => {
          octets += part.length;
          if (octets > maxAnswerOctets) outgoing.destroy(new Error("the answer is too long"));
          else parts.push(part);
        });
        incoming.on("error", fail);
        incoming.on("end", () => {
          try {
            resolve(readAnswer(incoming.statusCode ?? 0, Buffer.concat(parts).toString("utf8")));
          } catch (error) {
            reject(error);
          }
        });
      });
      outgoing.end(body);
    });
  return {
    post: (path, body, signal) =>
      body instanceof Uint8Array
        ? send("POST", path, body, uploadTimeoutMs, signal)
        : send("POST", path, JSON.stringify(body), defaultTimeoutMs, signal),
    get: (path, timeoutMs, signal) => send("GET", path, undefined, timeoutMs, signal),
    rest() {
      // Not ended: one that fades away could be taken for the next request.
      for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy();
    },
    close: () => agent.destroy(),
  };
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
