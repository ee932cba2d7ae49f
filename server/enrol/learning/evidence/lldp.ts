/**
 * LLDP and CDP: what the agents hear from the switch they hang on.
 *
 * It comes last, when a board has booted, and it is the board's own word: it never gives a board
 * a slot of another outlet than the one that powered it.
 */

import type { MacAddress } from "#protocol/brand.ts";
import type { Rack } from "#protocol/rack.ts";
import type { SwitchPort } from "#protocol/switch-port.ts";
import { portSlot } from "./port.ts";

/**
 * Ports, as the rack file names them, of boards that hear of exactly one. The rack file's `port`
 * is id or description behind `<name or id of the switch>/`; alone where all boards hang on one
 * switch. A port that two boards name is neither's: an unmanaged switch sits between.
 */
export function portsHeard(
  rack: Rack,
  boards: ReadonlyMap<MacAddress, readonly SwitchPort[]>,
): ReadonlyMap<MacAddress, string> {
  const all = [...boards.values()].flat();
  const isAlone = (["lldp", "cdp"] as const).every((protocol) => {
    const switches = all.filter((one) => one.protocol === protocol).map(({ chassis }) => chassis);
    return new Set(switches).size <= 1;
  });
  const ports = new Map<MacAddress, string>();
  for (const [mac, heard] of boards) {
    const written = heard.map((one) => writingsOf(one, isAlone));
    const known = written.flatMap((list) => list.find((port) => portSlot(rack, port)) ?? []);
    const [port] = known;
    if (port !== undefined && new Set(known).size === 1) ports.set(mac, port);
  }
  const named = [...ports.values()];
  const isOnlyOnce = (port: string) => named.indexOf(port) === named.lastIndexOf(port);
  return new Map([...ports].filter(([, port]) => isOnlyOnce(port)));
}

function writingsOf(
  { chassis, port, description, system }: SwitchPort,
  isAlone: boolean,
): readonly string[] {
  const ids = description === undefined ? [port] : [port, description];
  const switches = system === undefined ? [chassis] : [system, chassis];
  return [...switches.flatMap((name) => ids.map((id) => `${name}/${id}`)), ...(isAlone ? ids : [])];
}
