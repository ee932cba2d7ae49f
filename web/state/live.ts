/**
 * Keeps a {@link Site} up to date: snapshot, then the stream from its event id.
 * A stream that breaks is opened again by the browser; one that is refused, or
 * too far behind, begins with a new snapshot.
 */

import { type ReadonlySignal, signal } from "@preact/signals";
import type { StoredEvent } from "#protocol/events.ts";
import type { Site, Snapshot } from "./site.ts";

/** The part of the browser's EventSource that is used. */
export interface Stream {
  readonly isClosed: boolean;
  on(name: "open" | "error" | "message" | "reset", listener: (data: string) => void): void;
  close(): void;
}

export interface Surroundings {
  fetchSnapshot(): Promise<Snapshot>;
  openStream(path: string): Stream;
  /** Calls `work` after so many milliseconds. */
  later(work: () => void, delayMs: number): void;
  /** The session has ended. */
  onSignedOut(): void;
}

export interface Live {
  readonly state: ReadonlySignal<"connecting" | "live" | "lost">;
  start(): Promise<void>;
  stop(): void;
}

const retryMs = 3000;

export function createLive(site: Site, surroundings: Surroundings): Live {
  const state = signal<"connecting" | "live" | "lost">("connecting");
  let stream: Stream | undefined;
  let generation = 0;

  const again = (mine: number): void => {
    if (mine !== generation) return;
    state.value = "lost";
    surroundings.later(() => {
      if (mine === generation) void start();
    }, retryMs);
  };

  async function start(): Promise<void> {
    stream?.close();
    generation += 1;
    const mine = generation;
    try {
      const snapshot = await surroundings.fetchSnapshot();
      if (mine !== generation) return;
      site.load(snapshot);
      follow(mine);
    } catch (error) {
      if ((error as { status?: number }).status === 401) surroundings.onSignedOut();
      else again(mine);
    }
  }

  function follow(mine: number): void {
    const opened = surroundings.openStream(`/api/v1/events?after=${site.lastEventId.value}`);
    stream = opened;
    opened.on("open", () => {
      if (mine === generation) state.value = "live";
    });
    opened.on("message", (data) => {
      if (mine === generation) site.apply(JSON.parse(data) as StoredEvent);
    });
    opened.on("reset", () => void start());
    opened.on("error", () => {
      if (mine !== generation) return;
      state.value = "lost";
      if (opened.isClosed) again(mine);
    });
  }

  return {
    state,
    start,
    stop() {
      generation += 1;
      stream?.close();
      state.value = "connecting";
    },
  };
}
