/** The port of the switch a board hangs on tells its slot better than the time it was heard at. */

import type { SlotRef } from "#protocol/node.ts";
import type { Rack } from "#protocol/rack.ts";

/** The slot of the rack file with this `port`. */
export function portSlot(rack: Rack, port: string | undefined): SlotRef | undefined {
  if (port === undefined) return undefined;
  for (const stack of rack.stacks) {
    const slot = stack.slots.find((one) => one.port === port);
    if (slot) return { rack: rack.name, stack: stack.name, slot: slot.name };
  }
  return undefined;
}
