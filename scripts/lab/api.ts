/** The server's public API over its unix socket, as the demonstration and the tests use it. */

import { createReadStream } from "node:fs";
import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { StoredEvent } from "#protocol/events.ts";

export interface Api {
  /** Sent as bearer token with every later request. */
  token: string | undefined;
  get<T>(path: string): Promise<T>;
  /** `body` as JSON; text is sent as it is. */
  send<T>(method: "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: unknown): Promise<T>;
  /** The file as the request's body, streamed. */
  upload<T>(path: string, file: string): Promise<T>;
  /** Every event after `after`; comes back by itself when the connection or the server is lost. */
  follow(after: number, onEvent: (event: StoredEvent) => void): () => void;
}

/** An answer that is not a success: the problem's own words. */
export class ApiError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const reconnectMs = 500;
const tries = 10;

/** Asks again when the connection is lost: a server that was just killed, or a very busy machine. */
export async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  for (let count = 1; ; count++) {
    try {
      return await ask();
    } catch (error) {
      if (error instanceof ApiError || count === tries) throw error;
      await sleep(reconnectMs);
    }
  }
}

export function createApi(socketPath: string): Api {
  const open = (method: string, path: string, headers: Record<string, string>): ClientRequest =>
    request({
      socketPath,
      method,
      path,
      agent: false,
      headers: {
        Host: "localhost",
        ...(api.token !== undefined && { Authorization: `Bearer ${api.token}` }),
        ...headers,
      },
    });

  const api: Api = {
    token: undefined,
    async get(path) {
      const sent = open("GET", path, {});
      sent.end();
      return await answerOf(sent);
    },
    async send(method, path, body) {
      const isText = typeof body === "string";
      const text = isText ? body : JSON.stringify(body ?? {});
      const type = isText ? "text/plain; charset=utf-8" : "application/json";
      const sent = open(method, path, { "Content-Type": type });
      sent.end(method === "DELETE" && body === undefined ? undefined : text);
      return await answerOf(sent);
    },
    async upload(path, file) {
      const sent = open("POST", path, { "Content-Type": "application/octet-stream" });
      const broken = pipeline(createReadStream(file), sent).then(
        () => undefined,
        (error: Error) => error,
      );
      // A refusal may come before all is sent, and says more than a broken pipe.
      const result = await answerOf(sent);
      const error = await broken;
      if (error) throw error;
      return result as never;
    },
    follow: (after, onEvent) => follow(open, after, onEvent),
  };
  return api;
}

function responseOf(sent: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    sent.once("response", resolve);
    sent.once("error", reject);
  });
}

async function answerOf<T>(sent: ClientRequest): Promise<T> {
  const response = await responseOf(sent);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString("utf8");
  const status = response.statusCode ?? 0;
  if (status >= 300) {
    throw new ApiError(status, `${sent.method} ${sent.path}: ${status} ${text.slice(0, 500)}`);
  }
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

function follow(
  open: (method: string, path: string, headers: Record<string, string>) => ClientRequest,
  after: number,
  onEvent: (event: StoredEvent) => void,
): () => void {
  let position = after;
  let ended = false;
  let current: ClientRequest | undefined;
  let timer: NodeJS.Timeout | undefined;
  const again = () => {
    if (!ended) timer = setTimeout(connect, reconnectMs);
  };
  const connect = () => {
    let lost = false;
    const lose = () => {
      if (!lost) again();
      lost = true;
    };
    current = open("GET", `/api/v1/events?after=${position}`, { Accept: "text/event-stream" });
    current.on("error", lose);
    current.on("response", (response: IncomingMessage) => {
      let partial = "";
      response.setEncoding("utf8");
      response.on("error", lose);
      response.on("close", lose);
      response.on("data", (text: string) => {
        const blocks = (partial + text).split("\n\n");
        partial = blocks.pop() ?? "";
        for (const block of blocks) {
          const data = /^data: (?<json>.*)$/m.exec(block)?.groups?.["json"];
          if (data === undefined || data === "{}") continue;
          const event = JSON.parse(data) as StoredEvent;
          position = event.id;
          onEvent(event);
        }
      });
    });
    current.end();
  };
  connect();
  return () => {
    ended = true;
    clearTimeout(timer);
    current?.destroy();
  };
}
