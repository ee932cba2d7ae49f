/** What the kernel lets the server do. */

import { type Check, fine, hint, problem } from "../check.ts";
import { capabilitiesOf, hasCapability } from "../machine.ts";

/** linux/capability.h */
const needed = [
  {
    bit: 10,
    name: "CAP_NET_BIND_SERVICE",
    without: "it cannot open the ports 67 and 69, and does not start",
    isVital: true,
  },
  {
    bit: 13,
    name: "CAP_NET_RAW",
    without: "its DHCP socket cannot be tied to its interface, and does not start",
    isVital: true,
  },
  {
    bit: 12,
    name: "CAP_NET_ADMIN",
    without: "it cannot write neighbour entries: Raspberry Pi 3 racks will be unreliable",
    isVital: false,
  },
];
const lowestFreePort = "proc/sys/net/ipv4/ip_unprivileged_port_start";

export const capabilitiesCheck: Check = {
  name: "capabilities",
  async examine({ machine, server }) {
    const mask = capabilitiesOf(machine, server.kind === "other" ? server.pid : "self");
    if (mask === undefined) return [];
    const who = server.kind === "none" ? "this user" : "the server";
    const portsAreFree = Number(machine.read(lowestFreePort) ?? 1024) <= 67;
    const missing = needed.filter(
      ({ bit, name }) =>
        !hasCapability(mask, bit) && !(name === "CAP_NET_BIND_SERVICE" && portsAreFree),
    );
    if (missing.length === 0) return [fine("capabilities", `${who} has the capabilities it needs`)];
    return missing.map(({ name, without, isVital }) =>
      (isVital ? problem : hint)(
        "capability-missing",
        `${who} lacks ${name}: ${without}`,
        `start it as root, or with AmbientCapabilities=${name} in its systemd unit`,
      ),
    );
  },
};
