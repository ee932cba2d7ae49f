/**
 * Two machines with one identity: the copy of a disk carries the node's key.
 *
 * A machine has one boot id at a time and never gets one back. When check-ins
 * go from one boot id to another and back, two machines send them.
 */

import type { NodeId } from "#protocol/brand.ts";

export interface Doubles {
  /** True when this boot of the node was followed by another before: somebody else runs too. */
  sees(node: NodeId, bootId: string): boolean;
}

/** Boots remembered of each node. */
const maxEarlier = 4;

export function createDoubles(): Doubles {
  /** Newest last. */
  const boots = new Map<NodeId, readonly string[]>();
  return {
    sees(node, bootId) {
      const known = boots.get(node) ?? [];
      if (known.at(-1) === bootId) return false;
      const others = known.filter((one) => one !== bootId);
      boots.set(node, [...others, bootId].slice(-maxEarlier));
      return others.length < known.length;
    },
  };
}
