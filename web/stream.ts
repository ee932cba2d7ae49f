/** Server-sent events in the browser. */

import type { Stream } from "./state/live.ts";

export function openStream(path: string): Stream {
  const source = new EventSource(path);
  return {
    get isClosed() {
      return source.readyState === EventSource.CLOSED;
    },
    on: (name, listener) =>
      source.addEventListener(name, (event) => listener(String((event as MessageEvent).data))),
    close: () => source.close(),
  };
}
