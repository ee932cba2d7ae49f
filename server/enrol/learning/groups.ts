/** The outlets of a rack as learning sees them: each with the slots that get power by it. */

import { createHash } from "node:crypto";
import { canonicalJson } from "#protocol/discovery.ts";
import type { LearningGroup } from "#protocol/learning.ts";
import type { SlotRef } from "#protocol/node.ts";
import type { Rack, Slot } from "#protocol/rack.ts";

/** A stack with one outlet for all is one group; else each slot is one. In rack order. */
export function groupsOf(rack: Rack): readonly LearningGroup[] {
  const fresh = { before: "unknown", tries: 0, timedOut: 0, heard: [], seats: [] } as const;
  return rack.stacks.flatMap((stack): readonly LearningGroup[] => {
    const parts = stack.outlet ? [stack.slots] : stack.slots.map((slot) => [slot]);
    return parts.map((part) => ({
      ...{ ...fresh, stack: stack.name, slots: part.map(({ name }) => name) },
      ...(part.some(({ port }) => port !== undefined) && { hasPorts: true }),
    }));
  });
}

/** One outlet for several slots: they cannot be switched, nor told apart, one by one. */
export function isShared({ slots }: Pick<LearningGroup, "slots">): boolean {
  return slots.length > 1;
}

/** `a/1`, or `a` where one outlet feeds the whole stack. */
export function nameOf(group: Pick<LearningGroup, "stack" | "slots">): string {
  return isShared(group) ? group.stack : `${group.stack}/${group.slots[0]}`;
}

export function refsOf(rack: string, { stack, slots }: LearningGroup): readonly SlotRef[] {
  return slots.map((slot) => ({ rack, stack, slot }));
}

export function slotOf(rack: Rack, { stack, slot }: Omit<SlotRef, "rack">): Slot | undefined {
  const found = rack.stacks.find(({ name }) => name === stack);
  return found?.slots.find(({ name }) => name === slot);
}

/** The subnet a stack's boards must ask in; undefined: the rack file names none. */
export function subnetOf(rack: Rack, stack: string): string | undefined {
  return rack.stacks.find(({ name }) => name === stack)?.subnet ?? rack.subnet;
}

/** Changes when anything in the rack file does. */
export function digestOf(rack: Rack): string {
  return createHash("sha256").update(canonicalJson(rack)).digest("hex");
}
