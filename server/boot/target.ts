/** Where a node shall boot from now: the whole decision, from what is stored about it. */

import type { JobKindName, Stage, Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";

export type BootTarget = "netinst" | "local-disk";

/** From its reboot on the node belongs to its own disk. */
const ofTheDisk: readonly (Stage | undefined)[] = [
  ...(["rebooting", "first-boot", "confirming", "confirmed", "falling-back"] as const),
];

/** Kinds whose work is done from netinst, of nodes that have a system of their own. */
const fromNetinst: readonly JobKindName[] = ["install", "update", "capture"];

/**
 * An install, update or capture that runs decides: before its reboot the node belongs to
 * netinst, from then on to its own disk. Without one, an installed node boots
 * what is installed, and every other node boots netinst and asks for work.
 *
 * @param unfinished - the node's queued and running tasks; a queued one decides nothing
 */
export function decideBootTarget(node: Node | undefined, unfinished: readonly Task[]): BootTarget {
  if (!node) return "netinst";
  const borrowing = unfinished.find(
    ({ kind, state }) => fromNetinst.includes(kind) && state === "running",
  );
  if (borrowing) return ofTheDisk.includes(borrowing.stage) ? "local-disk" : "netinst";
  return node.state === "installed" || node.state === "retired" ? "local-disk" : "netinst";
}
