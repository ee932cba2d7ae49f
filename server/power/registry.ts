/** The power drivers there are. A new kind of hardware is one file in `drivers/` and one line here. */

import type { PowerDriver } from "./driver.ts";
import { manualDriver } from "./drivers/manual.ts";
import { qemuDriver } from "./drivers/qemu.ts";

/** A driver whose settings only it can read: made by its own `parse`, given back to it unseen. */
export type AnyPowerDriver = PowerDriver<unknown>;

const drivers: ReadonlyMap<string, AnyPowerDriver> = new Map(
  [erase(qemuDriver), erase(manualDriver)].map((driver) => [driver.kind, driver]),
);

export const powerDriverKinds: readonly string[] = [...drivers.keys()];

export function driverNamed(kind: string): AnyPowerDriver | undefined {
  return drivers.get(kind);
}

/** Forgets the type of the settings; `set` and `query` parse what they are given, so nothing is trusted. */
export function erase<Settings>(driver: PowerDriver<Settings>): AnyPowerDriver {
  return {
    kind: driver.kind,
    minimumOffTime: driver.minimumOffTime,
    parse: (settings) => driver.parse(settings),
    set: (settings, state, signal) => driver.set(driver.parse(settings), state, signal),
    query: (settings, signal) => driver.query(driver.parse(settings), signal),
  };
}
