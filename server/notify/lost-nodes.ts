/**
 * Nodes that should call and do not. A node is lost when its power is not off,
 * nothing is being done to it, and it was silent for five minutes; it is told
 * once, and again only after it has called in between. Many at once (a switch, a
 * fuse) are one notice.
 */

import type { Instant, NodeId } from "#protocol/brand.ts";
import { type Node, slotText } from "#protocol/node.ts";
import type { Notice } from "#protocol/notice.ts";
import type { Store } from "../store/store.ts";

export const lostAfter = 5 * 60_000; // ms
const namedAtMost = 20;
/** Setting of the journal: ids of the nodes that were told as lost. */
const settingName = "nodes told as lost";

/** Compares with what was told before. What is returned counts as told once `remember` was called. */
export function findLost(
  store: Pick<Store, "nodes" | "tasks" | "settings">,
  now: Instant,
): { readonly notice: Notice | undefined; remember(): void } {
  const told = new Set<NodeId>(JSON.parse(store.settings.get(settingName) ?? "[]"));
  const lost = store.nodes.list().filter((node) => isLost(node, store, now));
  const fresh = lost.filter(({ id }) => !told.has(id));
  return {
    notice: fresh.length === 0 ? undefined : noticeOf(fresh, now),
    remember() {
      const ids = lost.map(({ id }) => id);
      if (ids.length === told.size && fresh.length === 0) return;
      store.settings.put(settingName, JSON.stringify(ids));
    },
  };
}

function isLost(node: Node, { tasks }: Pick<Store, "tasks">, now: Instant): boolean {
  return (
    node.state === "installed" &&
    node.connection === "offline" &&
    node.power !== "off" &&
    now - (node.agent?.lastSeen ?? 0) >= lostAfter &&
    tasks.unfinishedOf(node.id).every(({ state }) => state !== "running")
  );
}

function noticeOf(nodes: readonly Node[], at: Instant): Notice {
  const [first] = nodes;
  const names = nodes.slice(0, namedAtMost).map(({ name, slot, agent }) => {
    const place = slot ? ` in ${slotText(slot)}` : "";
    const since = agent ? `, last heard ${new Date(agent.lastSeen).toISOString()}` : "";
    return `  ${name}${place}${since}`;
  });
  const more = nodes.length - names.length;
  return {
    occasion: "node-lost",
    key: `node-lost ${at} ${first?.id}`,
    at,
    subject:
      nodes.length === 1
        ? `node ${first?.name} does not call any more`
        : `${nodes.length} nodes do not call any more`,
    text: [
      ...names,
      ...(more > 0 ? [`  and ${more} more`] : []),
      "",
      "What was last heard of one: marcoboot node why <node>",
    ].join("\n"),
  };
}
