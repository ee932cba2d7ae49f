/** What an agent is told to leave alone on a node's disks. */

import type { DiskGuard } from "#protocol/disk.ts";
import type { Node } from "#protocol/node.ts";
import type { Wipe } from "#protocol/rule.ts";
import type { Store } from "../store/store.ts";

/**
 * @param wipe - `known`: only blank disks, and those that still hold what was installed from here,
 *   on this node or on another one the disk was in then
 */
export function guardOf(
  store: Pick<Store, "nodes" | "protectedDisks">,
  node: Node,
  wipe: Wipe,
): DiskGuard {
  const protectedSerials = store.protectedDisks.list().map(({ serial }) => serial);
  if (wipe === "any") return { protectedSerials };
  const disks = node.hardware?.disks ?? [];
  // New disks are the usual case: nobody need look through ten thousand nodes for theirs.
  if (disks.every(({ contents }) => contents?.id === undefined)) {
    return { protectedSerials, onlyOver: [] };
  }
  const serials = new Set(disks.flatMap(({ serial }) => serial ?? []));
  const onlyOver = store.nodes.list().flatMap(({ id, installedDisk: disk }) => {
    // Without a serial number a disk is known by its kernel name, which means something on its own node only.
    const isHere = disk && (disk.serial === undefined ? id === node.id : serials.has(disk.serial));
    return isHere ? [disk] : [];
  });
  return { protectedSerials, onlyOver };
}
