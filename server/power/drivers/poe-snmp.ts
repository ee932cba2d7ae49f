/**
 * A port of a PoE switch by SNMP: pethPsePortAdminEnable of the POWER-ETHERNET-MIB
 * (RFC 3621 §2), indexed by the group (the unit of a stack) and the port.
 *
 * `on` means that the switch may feed the port. Whether a board draws power is
 * another column (pethPsePortDetectionStatus): an empty port is never "off".
 */

import { Type } from "typebox";
import { milliseconds } from "#protocol/brand.ts";
import { PowerUnreachableError } from "../../errors.ts";
import { definePowerDriver, hostAndPort, type SettingsOf } from "../driver.ts";
import { agentMembers, checkAgent, readInteger, writeInteger } from "../snmp.ts";

const pethPsePortAdminEnable = "1.3.6.1.2.1.105.1.1.1.3";
/** TruthValue (RFC 2579 §2). */
const truth = { on: 1, off: 2 } as const;

const members = {
  ...agentMembers,
  group: Type.Integer({
    description: "pethPsePortGroupIndex: the unit of a stack of switches",
    minimum: 1,
    maximum: 0x7fff_ffff,
    default: 1,
  }),
  portIndex: Type.Integer({
    description: "pethPsePortIndex: usually the number on the switch's front",
    minimum: 1,
    maximum: 0x7fff_ffff,
    examples: [12],
  }),
};
export type PoeSnmpSettings = SettingsOf<typeof members>;

const objectOf = ({ group, portIndex }: PoeSnmpSettings) =>
  `${pethPsePortAdminEnable}.${group}.${portIndex}`;

export const poeSnmpDriver = definePowerDriver({
  kind: "poe-snmp",
  about: "port of a PoE switch by SNMP (RFC 3621)",
  settings: members,
  canQuery: true,
  minimumOffTime: milliseconds(3000),
  settleTime: milliseconds(3000),
  deviceOf: hostAndPort,
  check: checkAgent,

  set: (settings, state, signal) =>
    writeInteger(settings, objectOf(settings), truth[state], signal),

  async query(settings, signal) {
    const value = await readInteger(settings, objectOf(settings), signal);
    if (value === truth.on) return "on";
    if (value === truth.off) return "off";
    throw new PowerUnreachableError(
      `switch ${settings.host}: port ${settings.group}.${settings.portIndex} answers ${value}, not a TruthValue`,
    );
  },
});
