/** Where a node shall boot from now: the whole decision, from what is stored about it. */

import type { Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";

export type BootTarget = "netinst" | "local-disk";

/**
 * An install task that runs decides: before its reboot the node belongs to
 * netinst, from then on to its own disk. Without one, an installed node boots
 * what is installed, and every other node boots netinst and asks for work.
 *
 * @param unfinished - the node's queued and running tasks; a queued one decides nothing
 */
export function decideBootTarget(node: Node | undefined, unfinished: readonly Task[]): BootTarget {
  if (!node) return "netinst";
  const install = unfinished.find((task) => task.kind === "install" && task.state === "running");
  if (install) {
    const written = install.stage === "rebooting" || install.stage === "first-boot";
    return written ? "local-disk" : "netinst";
  }
  return node.state === "installed" || node.state === "retired" ? "local-disk" : "netinst";
}
