/**
 * The API, from the command line: over the server's unix socket, or a URL.
 * Answers that are problems become {@link CommandError} with their exit code.
 */

import { request as httpRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { CommandError, type ExitCode, exitCodes } from "./command.ts";

export type Target =
  | { readonly socketPath: string }
  /** `http://127.0.0.1:8000`, without path. */
  | { readonly url: string };

/** What was read, and its ETag: the `ifMatch` of a change that rests on it. */
export interface Tagged {
  readonly value: unknown;
  readonly tag: string;
}

export interface Client {
  get(path: string): Promise<unknown>;
  getTagged(path: string): Promise<Tagged>;
  /**
   * @param body - sent as JSON; a string as YAML
   * @param ifMatch - refused when somebody else has changed it since
   */
  send(
    method: "POST" | "PUT" | "PATCH" | "DELETE",
    path: string,
    body?: unknown,
    ifMatch?: string,
  ): Promise<unknown>;
  /** Streams bytes up; the answer's lines are given as they come. */
  upload(path: string, body: Readable, sizeBytes: number): AsyncIterable<unknown>;
  /** Data of server-sent events. */
  events(path: string, signal: AbortSignal): AsyncIterable<unknown>;
}

interface Wanted {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string | number>>;
  readonly body?: string | Readable;
  readonly signal?: AbortSignal;
}

/** @param signal - ends what is under way */
export function createClient(
  target: Target,
  token: string | undefined,
  signal: AbortSignal,
): Client {
  const open = (wanted: Wanted) => openRequest(target, token, { signal, ...wanted });
  const call = async (wanted: Wanted): Promise<unknown> => {
    const response = await open(wanted);
    const body = await text(response);
    return readBody(response, body);
  };
  return {
    get: (path) => call({ method: "GET", path }),
    async getTagged(path) {
      const response = await open({ method: "GET", path });
      const value = readBody(response, await text(response));
      return { value, tag: response.headers.etag ?? "*" };
    },
    send(method, path, body, ifMatch) {
      const condition = ifMatch === undefined ? {} : { "If-Match": ifMatch };
      if (body === undefined) return call({ method, path, headers: condition });
      const isText = typeof body === "string";
      const type = isText ? "application/yaml" : "application/json";
      const headers = { "Content-Type": type, ...condition };
      return call({ method, path, headers, body: isText ? body : JSON.stringify(body) });
    },
    async *upload(path, body, sizeBytes) {
      const headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": sizeBytes,
        Accept: "application/x-ndjson",
      };
      const refused = new AbortController(); // nobody waits for the rest of the body then
      const ends = AbortSignal.any([signal, refused.signal]);
      const response = await open({ method: "POST", path, headers, body, signal: ends });
      try {
        if ((response.statusCode ?? 500) >= 400) readBody(response, await text(response));
        for await (const line of linesOf(response)) if (line !== "") yield JSON.parse(line);
      } finally {
        refused.abort();
      }
    },
    async *events(path, signal) {
      const response = await open({ method: "GET", path, signal });
      if ((response.statusCode ?? 500) >= 400) readBody(response, await text(response));
      for await (const line of linesOf(response)) {
        if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
      }
    },
  };
}

async function* linesOf(response: IncomingMessage): AsyncIterable<string> {
  let rest = "";
  for await (const part of response.setEncoding("utf8")) {
    const lines = (rest + String(part)).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}

function openRequest(
  target: Target,
  token: string | undefined,
  wanted: Wanted,
): Promise<IncomingMessage> {
  const { method, path, headers, body, signal } = wanted;
  const options: RequestOptions = {
    method,
    headers: { ...headers, ...(token !== undefined && { Authorization: `Bearer ${token}` }) },
    ...(signal && { signal }),
  };
  return new Promise((resolve, reject) => {
    const request =
      "socketPath" in target
        ? httpRequest({ ...options, socketPath: target.socketPath, path }, resolve)
        : (target.url.startsWith("https:") ? httpsRequest : httpRequest)(
            new URL(path, target.url),
            options,
            resolve,
          );
    request.on("error", (cause) => reject(connectionError(target, cause)));
    if (typeof body === "string" || body === undefined) request.end(body);
    else {
      body.on("error", (cause) => request.destroy(cause));
      body.pipe(request);
    }
  });
}

function connectionError(target: Target, cause: Error & { code?: string }): Error {
  if (cause.name === "AbortError") return cause;
  const where = "socketPath" in target ? target.socketPath : target.url;
  const hints: Readonly<Record<string, string>> = {
    ENOENT: "is the server running? Name its state directory with --state, or --server URL",
    ECONNREFUSED: "is the server running? Start it with: marcoboot serve --config FILE",
    EACCES: "the socket is for the user the server runs as: use sudo, or --server URL",
  };
  const message = `no answer from ${where}: ${cause.message}`;
  return new CommandError(message, exitCodes.failed, hints[cause.code ?? ""], { cause });
}

/** @throws CommandError for a problem document. */
function readBody(response: IncomingMessage, body: string): unknown {
  const status = response.statusCode ?? 500;
  const isJson = /json/.test(response.headers["content-type"] ?? "");
  const value: unknown = isJson && body !== "" ? JSON.parse(body) : body;
  if (status < 400) return value;
  const problem = (isJson ? value : {}) as { title?: string };
  const hint =
    status === 401 ? "sign in first: marcoboot login NAME (or marcoboot setup CODE)" : undefined;
  throw new CommandError(problem.title ?? `status ${status}`, exitCodeOf(status), hint);
}

function exitCodeOf(status: number): ExitCode {
  if (status === 400) return exitCodes.usage;
  if (status === 401) return exitCodes.signIn;
  if (status === 404) return exitCodes.notFound;
  return exitCodes.failed;
}
