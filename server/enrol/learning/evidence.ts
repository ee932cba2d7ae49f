/** What tells a board's slot better than the time it was heard at: the port of the switch it hangs on. */

import type { SlotRef } from "#protocol/node.ts";
import type { Rack } from "#protocol/rack.ts";
import type { BootClient } from "../../boot/client.ts";

/** The slot of the rack file with this `port`. */
export function portSlot(rack: Rack, port: string | undefined): SlotRef | undefined {
  if (port === undefined) return undefined;
  for (const stack of rack.stacks) {
    const slot = stack.slots.find((one) => one.port === port);
    if (slot) return { rack: rack.name, stack: stack.name, slot: slot.name };
  }
  return undefined;
}

/**
 * What the packet itself says, where a relay agent or a switch writes option 82:
 * the circuit id, as text or as `0x…`, alone or behind `remote id/`.
 */
export function portTold(rack: Rack, { circuit }: Pick<BootClient, "circuit">): string | undefined {
  if (!circuit) return undefined;
  const remotes = circuit.remote === undefined ? [] : writingsOf(circuit.remote);
  const written = writingsOf(circuit.id).flatMap((id) => [
    ...remotes.map((remote) => `${remote}/${id}`),
    id,
  ]);
  return written.find((port) => portSlot(rack, port) !== undefined);
}

/** @param hex - octets as hexadecimal digits */
function writingsOf(hex: string): readonly string[] {
  const text = Buffer.from(hex, "hex").toString("latin1");
  return [`0x${hex}`, ...(/^[\x20-\x7e]+$/.test(text) ? [text] : [])];
}
