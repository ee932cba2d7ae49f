/**
 * A node whose own system waits while its netinst has nothing to do: a job that had borrowed it was
 * cancelled on the way there, or failed when the agent's part was done. It shall go home.
 */

import type { Node } from "#protocol/node.ts";
import type { Store } from "../store/store.ts";

export function isGuest(
  { id, state, agent, quarantined }: Node,
  { tasks }: Pick<Store, "tasks">,
): boolean {
  if (state !== "installed" || agent?.role !== "netinst" || quarantined) return false;
  return tasks.unfinishedOf(id).length === 0;
}
