/** Racks as others than admins see them: outlet settings may hold a PDU's password. */

import type { Outlet, Rack } from "#protocol/rack.ts";

export function withoutSettings(rack: Rack): Rack {
  return {
    ...rack,
    stacks: rack.stacks.map((stack) => ({
      ...bare(stack),
      slots: stack.slots.map(bare),
    })),
  };
}

function bare<Powered extends { readonly outlet?: Outlet }>(powered: Powered): Powered {
  if (!powered.outlet) return powered;
  return { ...powered, outlet: { driver: powered.outlet.driver, settings: {} } };
}
