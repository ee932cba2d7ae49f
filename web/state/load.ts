/** The load of one node while it is looked at. Knows nothing of the browser, so that ava tests it. */

import { type ReadonlySignal, signal } from "@preact/signals";
import { loadPeriodMs, type NodeLoad } from "#protocol/load.ts";
import type { Stream } from "./live.ts";

export interface LoadSource {
  openStream(path: string): Stream;
  /** Calls `work` after so many milliseconds. Returns what prevents it. */
  later(work: () => void, delayMs: number): () => void;
}

export interface LoadWatch {
  /** The newest last; at most {@link kept}. */
  readonly samples: ReadonlySignal<readonly NodeLoad[]>;
  /** None came lately: the node is gone, or has not been told yet. */
  readonly isStale: ReadonlySignal<boolean>;
  stop(): void;
}

/** A minute. */
export const kept = 60;
const staleMs = 3 * loadPeriodMs;

export function watchLoad(nodeId: string, { openStream, later }: LoadSource): LoadWatch {
  const samples = signal<readonly NodeLoad[]>([]);
  const isStale = signal(true);
  let cancel = (): void => undefined;
  const stream = openStream(`/api/v1/nodes/${encodeURIComponent(nodeId)}/load`);
  stream.on("message", (data) => {
    samples.value = [...samples.value, JSON.parse(data) as NodeLoad].slice(-kept);
    isStale.value = false;
    cancel();
    cancel = later(() => {
      isStale.value = true;
    }, staleMs);
  });
  return {
    samples,
    isStale,
    stop() {
      cancel();
      stream.close();
    },
  };
}
