/** DHCP option 82 (RFC 3046): what a relay agent or a snooping switch writes into the packet itself. */

import type { Rack } from "#protocol/rack.ts";
import type { BootClient } from "../../../boot/client.ts";
import { portSlot } from "./port.ts";

/** The rack file's `port`: the circuit id, as text or as `0x…`, alone or behind `remote id/`. */
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
