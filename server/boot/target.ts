/** Where a node shall boot from now: the whole decision, from what is stored about it. */

import type { JobKindName, Stage, Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";

/** `trial`: by network, the root slot that its own disk does not boot yet. */
export type BootTarget = "netinst" | "local-disk" | "trial";

/** From its reboot on the node belongs to its own disk. */
const ofTheDisk: readonly (Stage | undefined)[] = [
  ...(["rebooting", "first-boot", "confirming", "confirmed", "falling-back"] as const),
];
const ofTheTrial: readonly (Stage | undefined)[] = ["rebooting", "first-boot"];

/** Kinds whose work is done from netinst, of nodes that have a system of their own. */
const fromNetinst: readonly JobKindName[] = ["install", "update", "capture"];

/**
 * An install, update or capture that runs decides: before its reboot the node belongs to
 * netinst, from then on to its own disk; a Raspberry Pi first tries an update from
 * here. Without one, an installed node boots what is installed, and every other node
 * boots netinst and asks for work.
 *
 * @param unfinished - the node's queued and running tasks; a queued one decides nothing
 */
export function decideBootTarget(node: Node | undefined, unfinished: readonly Task[]): BootTarget {
  if (!node) return "netinst";
  const borrowing = unfinished.find(isBorrowing);
  if (borrowing && !ofTheDisk.includes(borrowing.stage)) return "netinst";
  if (borrowing) return triedBy(node, unfinished) ? "trial" : "local-disk";
  return node.state === "installed" || node.state === "retired" ? "local-disk" : "netinst";
}

/** The update whose new system the server has to give the node, where the boot loader cannot try it. */
export function triedBy({ installedDisk }: Node, unfinished: readonly Task[]): Task | undefined {
  const task = unfinished.find(isBorrowing);
  const isOurs = installedDisk?.slots?.bootloader === "raspberry-pi" && task?.kind === "update";
  return isOurs && ofTheTrial.includes(task.stage) ? task : undefined;
}

function isBorrowing({ kind, state }: Task): boolean {
  return fromNetinst.includes(kind) && state === "running";
}
