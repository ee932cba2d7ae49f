/** Which nodes are chosen, and what may be done with them. */

import { type ReadonlySignal, signal } from "@preact/signals";
import type { JobKindName } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";

export interface Selection {
  readonly ids: ReadonlySignal<ReadonlySet<string>>;
  /** Chooses this one only; again: nothing. */
  only(id: string): void;
  toggle(id: string): void;
  /** All of them; when all are chosen already: none of them. */
  group(ids: readonly string[]): void;
  clear(): void;
}

export function createSelection(): Selection {
  const ids = signal<ReadonlySet<string>>(new Set());
  return {
    ids,
    only(id) {
      ids.value = ids.value.size === 1 && ids.value.has(id) ? new Set() : new Set([id]);
    },
    toggle(id) {
      const next = new Set(ids.value);
      if (!next.delete(id)) next.add(id);
      ids.value = next;
    },
    group(wanted) {
      const isChosen = wanted.length > 0 && wanted.every((id) => ids.value.has(id));
      const others = [...ids.value].filter((id) => !wanted.includes(id));
      ids.value = new Set(isChosen ? others : [...ids.value, ...wanted]);
    },
    clear() {
      ids.value = new Set();
    },
  };
}

/** Why the action is not offered, in words; `undefined` when it is. */
export function obstacle(
  kind: JobKindName,
  nodes: readonly Node[],
  images: number,
): string | undefined {
  if (nodes.length === 0) return "choose nodes first";
  const held = nodes.find((node) => node.quarantined);
  if (held) return `${held.name} is held back: approve it first`;
  if (kind === "capture" && nodes.length > 1) return "an image is made of one node";
  const rootless = nodes.find(({ installedDisk }) => !installedDisk?.slots);
  if (kind === "update" && rootless) {
    return `${rootless.name} has no root slots: install an image that was pushed with --root-size`;
  }
  const silent = nodes.find((node) => node.connection === "offline");
  if (kind !== "install" && silent) return `${silent.name} is offline`;
  if (kind !== "install" && kind !== "update") return undefined;
  if (images === 0) return "no image: marcoboot image push FILE";
  const kept = nodes.find((node) => node.protection);
  if (kept) return `${kept.name} is protected`;
  const unknown = nodes.find((node) => node.state === "discovered");
  return unknown && `${unknown.name} has not enrolled yet`;
}

/** What must be typed before an install: the node's name, or the rack's for more than one. */
export function wordToType(nodes: readonly Node[]): string {
  const [first] = nodes;
  if (nodes.length === 1 && first) return first.name;
  const racks = new Set(nodes.flatMap((node) => node.slot?.rack ?? []));
  const [rack] = racks;
  return racks.size === 1 && rack !== undefined ? rack : `install ${nodes.length} nodes`;
}

/** Nodes by id: exact, whatever else changes its place meanwhile. */
export function selectorOf(nodes: readonly Node[]): string {
  return nodes.map((node) => node.id).join(",");
}
