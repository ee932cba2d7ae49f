/**
 * Two root slots and a data partition on one disk: an update writes the slot that does not run.
 *
 *   boot partition | root a | root b | data to the end
 */

export const rootSlots = ["a", "b"] as const;
export type RootSlot = (typeof rootSlots)[number];

export interface SlotSizes {
  /** Of each root, MiB. */
  readonly rootMiB: number;
  /** Where the rest of the disk is mounted: `/srv`. */
  readonly data: string;
}

export function otherSlot(slot: RootSlot): RootSlot {
  return slot === "a" ? "b" : "a";
}

const mebibyte = 1 << 20;
/** Octets of the boot partition. */
export const bootOctets = { grub: 64 * mebibyte, "raspberry-pi": 256 * mebibyte } as const;
/** Tables at both ends, and what alignment takes. */
const spareOctets = 3 * mebibyte;
const leastDataOctets = 64 * mebibyte;

type Tree = {
  readonly sizeBytes: number;
  readonly bootloader: "grub" | "raspberry-pi" | "none";
  readonly slots?: SlotSizes;
};

/** Least root partition for a tree: its octets, a fifth for ext4's own tables, and the agent. */
export function treeRootBytes({ sizeBytes }: Pick<Tree, "sizeBytes">): number {
  return Math.ceil(sizeBytes * 1.2) + 144 * mebibyte;
}

/** Whether a disk of this size gets the image's two slots; without room it gets one root. */
export function hasRoomForSlots(tree: Tree, diskBytes: number): boolean {
  const { slots, bootloader } = tree;
  if (slots === undefined || bootloader === "none") return false;
  const root = slots.rootMiB * mebibyte;
  const least = bootOctets[bootloader] + 2 * root + leastDataOctets + spareOctets;
  return root >= treeRootBytes(tree) && diskBytes >= least;
}
