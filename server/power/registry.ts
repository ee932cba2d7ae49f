/** The power drivers there are. A new kind of hardware is one file in `drivers/` and one line here. */

import type { PowerDriver } from "./driver.ts";
import { commandDriver } from "./drivers/command.ts";
import { gpioRelayDriver } from "./drivers/gpio-relay.ts";
import { ipmiDriver } from "./drivers/ipmi.ts";
import { manualDriver } from "./drivers/manual.ts";
import { poeSnmpDriver } from "./drivers/poe-snmp.ts";
import { qemuDriver } from "./drivers/qemu.ts";
import { redfishDriver } from "./drivers/redfish.ts";
import { snmpPduDriver } from "./drivers/snmp-pdu.ts";
import { wakeOnLanDriver } from "./drivers/wake-on-lan.ts";
import { webhookDriver } from "./drivers/webhook.ts";

/** A driver whose settings only it can read: made by its own `parse`, given back to it unseen. */
export type AnyPowerDriver = PowerDriver<unknown>;

export const powerDrivers: readonly AnyPowerDriver[] = [
  erase(gpioRelayDriver),
  erase(snmpPduDriver),
  erase(poeSnmpDriver),
  erase(redfishDriver),
  erase(ipmiDriver),
  erase(wakeOnLanDriver),
  erase(webhookDriver),
  erase(commandDriver),
  erase(manualDriver),
  erase(qemuDriver),
];

const byKind = new Map(powerDrivers.map((driver) => [driver.kind, driver]));

export const powerDriverKinds: readonly string[] = [...byKind.keys()];

export function driverNamed(kind: string): AnyPowerDriver | undefined {
  return byKind.get(kind);
}

/** Forgets the type of the settings; `set` and `query` parse what they are given, so nothing is trusted. */
export function erase<Settings>(driver: PowerDriver<Settings>): AnyPowerDriver {
  const { deviceOf, ...rest } = driver;
  return {
    ...rest,
    ...(deviceOf && { deviceOf: (settings) => deviceOf(driver.parse(settings)) }),
    parse: (settings) => driver.parse(settings),
    set: async (settings, state, signal) => driver.set(driver.parse(settings), state, signal),
    query: async (settings, signal) => driver.query(driver.parse(settings), signal),
  };
}
