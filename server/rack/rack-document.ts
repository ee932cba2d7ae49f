/**
 * A rack as the file that would make it: what a plan or a default gives is left
 * out, and secrets are `{ kept: true }`. Parsed again, it is the same rack.
 */

import { stringify } from "yaml";
import type { Rack, Slot, Stack } from "#protocol/rack.ts";
import { withoutSecrets } from "../power/secrets.ts";
import { type Position, plannedAddress, plannedHostname } from "./plan.ts";

export type RackDocument = Omit<Rack, "stacks"> & {
  readonly stacks: readonly StackDocument[];
};
export type StackDocument = Pick<Stack, "name" | "subnet" | "firstAddress" | "outlet"> & {
  readonly x?: number;
  readonly y?: number;
  readonly slots: readonly SlotDocument[];
};
export type SlotDocument = Partial<Slot> & Pick<Slot, "name">;

export function documentOf(rack: Rack): RackDocument {
  let number = 0;
  const stacks = rack.stacks.map((stack, stackIndex): StackDocument => {
    const { name, x, y, subnet, firstAddress, outlet } = stack;
    return {
      name,
      ...(x !== stackIndex && { x }),
      ...(y !== 0 && { y }),
      ...(subnet !== undefined && { subnet }),
      ...(firstAddress !== undefined && { firstAddress }),
      ...(outlet && { outlet: withoutSecrets(outlet) }),
      slots: stack.slots.map((slot, slotIndex) =>
        slotDocument(slot, rack, stack, { stackIndex, slotIndex, number: number++ }),
      ),
    };
  });
  return { ...rack, stacks };
}

export function yamlOf(rack: Rack): string {
  const document = documentOf(rack);
  const stacks = document.stacks.map((stack) => ({ ...stack, slots: short(stack.slots) }));
  return stringify({ ...document, stacks }, { lineWidth: 100, singleQuote: false });
}

function slotDocument(slot: Slot, rack: Rack, stack: Stack, position: Position): SlotDocument {
  const { name, hostname, address, port, outlet } = slot;
  const isUsualName = hostname === plannedHostname(rack, stack.name, name, position);
  const isPlanned = address === plannedAddress(rack, stack, position);
  return {
    name,
    ...(!isUsualName && { hostname }),
    ...(address !== undefined && !isPlanned && { address }),
    ...(port !== undefined && { port }),
    ...(outlet && { outlet: withoutSecrets(outlet) }),
  };
}

/** `slots: 4` where nothing more is said of them. */
function short(slots: readonly SlotDocument[]): number | readonly SlotDocument[] {
  const isPlain = slots.every(
    (slot, index) => slot.name === `${index + 1}` && Object.keys(slot).length === 1,
  );
  return isPlain ? slots.length : slots;
}
