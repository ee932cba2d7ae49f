/**
 * Who looks at which node: a node measures its load only while somebody does, once for all who
 * look. Nothing of it is kept.
 */

import { type Milliseconds, milliseconds, type NodeId } from "#protocol/brand.ts";
import type { NodeLoad } from "#protocol/load.ts";
import type { Clock } from "../clock.ts";

export interface Watching {
  /** Gives each sample of the node to `listener`. Returns the function that ends it. */
  follow(node: NodeId, listener: (load: NodeLoad) => void): () => void;
  isWatched(node: NodeId): boolean;
  /** Somebody looks, and no sample came lately: the node is to be told. */
  isMissed(node: NodeId): boolean;
  /** A sample came. */
  tell(node: NodeId, load: NodeLoad): void;
  /** Called with each node that somebody begins to look at. Returns the function that ends it. */
  onBegin(listener: (node: NodeId) => void): () => void;
}

const lately = milliseconds(3000);

export function createWatching(clock: Pick<Clock, "monotonic">): Watching {
  const watched = new Map<
    NodeId,
    { readonly listeners: Set<(load: NodeLoad) => void>; toldAt: Milliseconds | undefined }
  >();
  const beginListeners = new Set<(node: NodeId) => void>();
  return {
    follow(node, listener) {
      const known = watched.get(node);
      const entry = known ?? { listeners: new Set(), toldAt: undefined };
      watched.set(node, entry);
      const own = (load: NodeLoad) => listener(load); // the same listener may come twice
      entry.listeners.add(own);
      if (!known) for (const begin of beginListeners) begin(node);
      return () => {
        entry.listeners.delete(own);
        if (entry.listeners.size === 0 && watched.get(node) === entry) watched.delete(node);
      };
    },
    isWatched: (node) => watched.has(node),
    isMissed(node) {
      const entry = watched.get(node);
      if (!entry) return false;
      return entry.toldAt === undefined || clock.monotonic() - entry.toldAt > lately;
    },
    tell(node, load) {
      const entry = watched.get(node);
      if (!entry) return;
      entry.toldAt = clock.monotonic();
      for (const listener of entry.listeners) listener(load);
    },
    onBegin(listener) {
      beginListeners.add(listener);
      return () => void beginListeners.delete(listener);
    },
  };
}
