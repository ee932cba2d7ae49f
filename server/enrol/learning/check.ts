/** Whether a rack can be learned: what would go wrong in the middle is refused at the start. */

import { ipv4ToNumber, parseIpv4Address } from "#protocol/brand.ts";
import { isSameSlot, slotText } from "#protocol/node.ts";
import type { Rack, Slot } from "#protocol/rack.ts";
import type { Subnet } from "../../config.ts";
import { ConflictError, InvalidInputError } from "../../errors.ts";
import { contains } from "../../lease/leases.ts";
import type { Power } from "../../power/power.ts";
import type { Store } from "../../store/store.ts";

export interface CheckContext {
  readonly power: Pick<Power, "outletOf">;
  readonly store: Pick<Store, "tasks" | "nodes" | "reservations">;
  readonly subnets: readonly Subnet[];
}

/**
 * @param isForced - installed nodes that run may lose their power
 * @throws InvalidInputError, ConflictError
 */
export function checkRack(rack: Rack, context: CheckContext, isForced: boolean): void {
  checkOutlets(rack, context);
  checkAddresses(rack, context);
  checkNodes(rack, context, isForced);
}

function checkOutlets(rack: Rack, { power }: CheckContext): void {
  for (const stack of rack.stacks) {
    for (const slot of stack.slots) {
      const ref = { rack: rack.name, stack: stack.name, slot: slot.name };
      if (power.outletOf(ref)) continue;
      throw new InvalidInputError(
        `slot ${slotText(ref)} has no outlet: learning needs one for every slot or its stack`,
      );
    }
  }
}

function checkAddresses(rack: Rack, { store, subnets }: CheckContext): void {
  const slots = rack.stacks.flatMap((stack) =>
    stack.slots.map((slot) => ({
      ...slot,
      ref: { rack: rack.name, stack: stack.name, slot: slot.name },
    })),
  );
  for (const slot of slots) checkAddress(slot, subnets);
  const reserved = store.reservations.list();
  const needed = slots.filter(
    ({ address, ref }) =>
      address === undefined && !reserved.some(({ slot }) => slot && isSameSlot(slot, ref)),
  ).length;
  const used = new Set<string>(reserved.map(({ address }) => address));
  for (const { address } of slots) if (address !== undefined) used.add(address);
  const inUse = [...used].map((address) => ipv4ToNumber(parseIpv4Address(address)));
  const free = subnets.reduce((count, { reserved: range }) => {
    const [first, last] = [ipv4ToNumber(range.first), ipv4ToNumber(range.last)];
    const size = Math.max(0, last - first + 1);
    return count + size - inUse.filter((number) => number >= first && number <= last).length;
  }, 0);
  if (needed <= free) return;
  throw new InvalidInputError(
    `rack ${rack.name} needs ${needed} addresses and ${free} are free in \`reserved\`: widen it in the configuration, or remove reservations`,
  );
}

function checkAddress({ address: text, hostname }: Slot, subnets: readonly Subnet[]): void {
  if (text === undefined) return;
  const address = parseIpv4Address(text);
  const subnet = subnets.find((one) => contains(one, address));
  if (!subnet) {
    const known = subnets.map(({ cidr }) => cidr).join(", ");
    throw new InvalidInputError(
      `address ${text} of ${hostname} is in no subnet (${known}): correct the rack file`,
    );
  }
  const { pool } = subnet;
  const number = ipv4ToNumber(address);
  if (!pool || number < ipv4ToNumber(pool.first) || number > ipv4ToNumber(pool.last)) return;
  throw new InvalidInputError(
    `address ${text} of ${hostname} is inside the pool ${pool.first} - ${pool.last} of ${subnet.cidr}: move one of the two`,
  );
}

function checkNodes(rack: Rack, { store }: CheckContext, isForced: boolean): void {
  for (const task of store.tasks.unfinished()) {
    const node = store.nodes.get(task.nodeId);
    if (node?.slot?.rack !== rack.name) continue;
    throw new ConflictError(`node ${node.name} has a task: learning would cut its power`);
  }
  if (isForced) return;
  const running = store.nodes
    .list()
    .filter(({ slot, connection, agent }) => {
      return slot?.rack === rack.name && connection === "online" && agent?.role === "resident";
    })
    .map(({ name }) => name);
  if (running.length === 0) return;
  throw new ConflictError(
    `${running.length} installed nodes of rack ${rack.name} are running and would lose their power (${running.slice(0, 4).join(", ")}): shut them down first, or use force`,
  );
}
