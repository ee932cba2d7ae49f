/**
 * A switched PDU by SNMP: an integer is written to the outlet's row of a control
 * column, and its state read from the same or another column. The columns of
 * known PDUs are presets; any other PDU is described by its numbers.
 */

import { Type } from "typebox";
import { milliseconds } from "#protocol/brand.ts";
import { PowerUnreachableError } from "../../errors.ts";
import { choice, definePowerDriver, hostAndPort, type SettingsOf } from "../driver.ts";
import { agentMembers, checkAgent, readInteger, writeInteger } from "../snmp.ts";

/** Columns without the outlet's index, and the integers that mean on and off in each. */
interface Columns {
  readonly control: string;
  readonly controlOn: number;
  readonly controlOff: number;
  readonly state?: string;
  readonly stateOn: number;
  readonly stateOff: number;
}

/** From the makers' MIBs. */
const presets = {
  /** PowerNet-MIB: rPDUOutletControlOutletCommand, rPDUOutletStatusOutletState. */
  "apc-rpdu": {
    control: "1.3.6.1.4.1.318.1.1.12.3.3.1.1.4",
    controlOn: 1, // immediateOn
    controlOff: 2, // immediateOff
    state: "1.3.6.1.4.1.318.1.1.12.3.5.1.1.4",
    stateOn: 1,
    stateOff: 2,
  },
  /** PowerNet-MIB: rPDU2OutletSwitchedControlCommand, rPDU2OutletSwitchedStatusState. */
  "apc-rpdu2": {
    control: "1.3.6.1.4.1.318.1.1.26.9.2.4.1.5",
    controlOn: 1,
    controlOff: 2,
    state: "1.3.6.1.4.1.318.1.1.26.9.2.3.1.5",
    stateOn: 2, // the other way round than in the command
    stateOff: 1,
  },
  /** PDU2-MIB: switchingOperation and outletSwitchingState of PDU 1. */
  "raritan-px": {
    control: "1.3.6.1.4.1.13742.6.4.1.2.1.2.1",
    controlOn: 1,
    controlOff: 0,
    state: "1.3.6.1.4.1.13742.6.4.1.2.1.3.1",
    stateOn: 7,
    stateOff: 8,
  },
} as const satisfies Readonly<Record<string, Columns>>;

const presetNames = ["apc-rpdu", "apc-rpdu2", "raritan-px", "custom"] as const;

const column = (description: string) =>
  Type.Optional(Type.String({ description, pattern: "^\\d+(?:\\.\\d+){1,63}$" }));
const word = (description: string) =>
  Type.Optional(Type.Integer({ description, minimum: -0x8000_0000, maximum: 0x7fff_ffff }));

const members = {
  ...agentMembers,
  outlet: Type.String({
    description: 'index of the outlet: "5", or "2.5" where a table has two indices',
    pattern: "^\\d{1,6}(?:\\.\\d{1,6}){0,3}$",
    examples: ["5"],
  }),
  preset: choice(presetNames, { description: "kind of PDU", default: "apc-rpdu" }),
  controlColumn: column("custom: OID of the control column, without the outlet's index"),
  controlOn: word("custom: integer that switches on"),
  controlOff: word("custom: integer that switches off"),
  stateColumn: column("custom: OID of the state column; without it the PDU is not asked"),
  stateOn: word("custom: integer that means on; default: controlOn"),
  stateOff: word("custom: integer that means off; default: controlOff"),
};
export type SnmpPduSettings = SettingsOf<typeof members>;

const customMembers = [
  ...["controlColumn", "controlOn", "controlOff", "stateColumn", "stateOn", "stateOff"],
] as readonly (keyof SnmpPduSettings)[];

function columnsOf(settings: SnmpPduSettings): Columns {
  const { preset } = settings;
  if (preset !== "custom") {
    const named = customMembers.find((name) => settings[name] !== undefined);
    if (named === undefined) return presets[preset];
    throw new RangeError(`${named} is only for preset custom`);
  }
  const { controlColumn, controlOn, controlOff, stateColumn } = settings;
  if (controlColumn === undefined) throw new RangeError("controlColumn is missing (preset custom)");
  if (controlOn === undefined) throw new RangeError("controlOn is missing (preset custom)");
  if (controlOff === undefined) throw new RangeError("controlOff is missing (preset custom)");
  const { stateOn = controlOn, stateOff = controlOff } = settings;
  if (controlOn === controlOff || stateOn === stateOff) {
    throw new RangeError("controlOn and controlOff, stateOn and stateOff must differ");
  }
  const state = stateColumn === undefined ? {} : { state: stateColumn };
  return { control: controlColumn, controlOn, controlOff, ...state, stateOn, stateOff };
}

export const snmpPduDriver = definePowerDriver({
  kind: "snmp-pdu",
  about: "switched PDU by SNMP: APC, Raritan, or any with an outlet table",
  settings: members,
  canQuery: true,
  minimumOffTime: milliseconds(5000),
  settleTime: milliseconds(8000), // relays switch one after the other, and the table lags behind
  deviceOf: hostAndPort,

  check(settings) {
    checkAgent(settings);
    columnsOf(settings);
  },

  async set(settings, state, signal) {
    const { control, controlOn, controlOff } = columnsOf(settings);
    const value = state === "on" ? controlOn : controlOff;
    await writeInteger(settings, `${control}.${settings.outlet}`, value, signal);
  },

  async query(settings, signal) {
    const { state, stateOn, stateOff } = columnsOf(settings);
    if (state === undefined) return "unknown";
    const value = await readInteger(settings, `${state}.${settings.outlet}`, signal);
    if (value === stateOn) return "on";
    if (value === stateOff) return "off";
    throw new PowerUnreachableError(
      `PDU ${settings.host}: outlet ${settings.outlet} is in state ${value}, neither on nor off`,
    );
  },
});
