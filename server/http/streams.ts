/** Server-sent events: open responses, limited in number and in how far one may fall behind. */

import type { ServerResponse } from "node:http";
import type { Context } from "koa";
import { milliseconds } from "#protocol/brand.ts";
import { TooManyRequestsError } from "../errors.ts";
import type { Admin } from "./services.ts";

export interface EventStream {
  readonly isOpen: boolean;
  /** Whole lines, with the empty one that ends them. */
  write(text: string): void;
  onClose(listener: () => void): void;
}

const maxStreams = 200;
/** A reader that far behind is cut off; it comes back, of events with its Last-Event-ID. */
const maxBehindOctets = 1024 * 1024;
const heartbeat = milliseconds(15_000); // proxies drop what is silent for 30-60 s

const streams = new WeakMap<object, Set<ServerResponse>>();

/** Takes the response over from koa. @throws TooManyRequestsError */
export function openStream(koa: Context, { clock, store }: Pick<Admin, "clock" | "store">) {
  const open = streams.get(store) ?? new Set();
  streams.set(store, open);
  if (open.size >= maxStreams) throw new TooManyRequestsError(`${maxStreams} streams are open`);
  koa.respond = false;
  const response = koa.res;
  open.add(response);
  response.writeHead(200, {
    "Content-Type": "text/event-stream; charset=utf-8",
    "X-Accel-Buffering": "no",
  });
  const stream: EventStream = {
    get isOpen() {
      return !response.writableEnded && !response.destroyed;
    },
    write(text) {
      if (response.writableEnded) return;
      response.write(text);
      if (response.writableLength > maxBehindOctets) response.destroy();
    },
    onClose: (listener) => void response.on("close", listener),
  };
  stream.write("retry: 2000\n\n");
  const stopHeartbeat = clock.every(heartbeat, () => stream.write(": still here\n\n"));
  stream.onClose(() => {
    stopHeartbeat();
    open.delete(response);
  });
  return stream;
}

/** Ends all streams of a server that closes. */
export function endStreams(store: object): void {
  for (const response of streams.get(store) ?? []) response.end();
}
