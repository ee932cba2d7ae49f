/**
 * The forwarding table of a switch, by SNMP: on which of its ports a hardware
 * address was heard last (BRIDGE-MIB, RFC 4188; Q-BRIDGE-MIB, RFC 4363).
 *
 *   dot1dTpFdbPort.<MAC address>            bridge port, 0: not known
 *   dot1qTpFdbPort.<table>.<MAC address>    the same, of switches with VLANs
 *   dot1dBasePortIfIndex.<bridge port>      interface
 *   ifName.<interface>                      `gi1/0/7`
 *
 * An entry goes with the link, so this is asked while the board has power.
 */

import { type MacAddress, macAddressFrom } from "#protocol/brand.ts";
import { type AgentSettings, type Column, readColumn } from "../../../power/snmp.ts";
import type { PortSource } from "./switches.ts";

const columns = {
  fdbPort: "1.3.6.1.2.1.17.4.3.1.2",
  vlanFdbPort: "1.3.6.1.2.1.17.7.1.2.2.1.2",
  portInterface: "1.3.6.1.2.1.17.1.4.1.2",
  interfaceName: "1.3.6.1.2.1.31.1.1.1.1",
} as const;
const octetsOfMac = 6;

export function createSnmpBridge(settings: AgentSettings): PortSource {
  const read = (column: string, signal: AbortSignal) => readColumn(settings, column, signal);
  return {
    async portsOf(macs, signal) {
      const found = new Map<MacAddress, readonly string[]>();
      const table = await forwarding(read, signal);
      const wanted = macs.filter((mac) => table.has(mac));
      if (wanted.length === 0) return found;
      const interfaces = await read(columns.portInterface, signal);
      const names = await read(columns.interfaceName, signal);
      for (const mac of wanted) {
        const port = String(table.get(mac));
        const name = names.get(String(interfaces.get(port)));
        found.set(mac, [...(typeof name === "string" ? [name] : []), port]);
      }
      return found;
    },
  };
}

type Read = (column: string, signal: AbortSignal) => Promise<Column>;

async function forwarding(read: Read, signal: AbortSignal): Promise<Map<MacAddress, number>> {
  const plain = await read(columns.fdbPort, signal);
  const rows = plain.size > 0 ? plain : await read(columns.vlanFdbPort, signal);
  const table = new Map<MacAddress, number>();
  for (const [index, port] of rows) {
    const octets = index.split(".").slice(-octetsOfMac).map(Number);
    if (typeof port !== "number" || port === 0 || octets.length !== octetsOfMac) continue;
    table.set(macAddressFrom(Uint8Array.from(octets)), port);
  }
  return table;
}
