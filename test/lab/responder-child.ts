/**
 * A discovery responder with a site of its own: `<keys directory> <interface> <address> <name>
 * [<milliseconds it is late> [<directory of service files>]]`. Prints its key when it listens.
 */

import type { Ipv4Address } from "#protocol/brand.ts";
import { systemClock } from "../../server/clock.ts";
import { parseConfig } from "../../server/config.ts";
import { startDiscovery } from "../../server/discovery/server.ts";
import { readServices } from "../../server/discovery/shared/services.ts";
import { openSite } from "../../server/enrol/authority.ts";
import { silentLog } from "../../server/log.ts";
import { openDatagramSocket } from "../../server/net/udp.ts";

const [keys = "", interfaceName = "", address = "", hostname = "", delayMs = "0", directory] =
  process.argv.slice(2);
const site = await openSite(keys);
const discovery = await startDiscovery({
  config: parseConfig(
    `subnets: [{ cidr: 10.77.0.0/24, interface: ${interfaceName}, reserved: [10.77.0.10, 10.77.0.20] }]`,
    "responder",
  ),
  interfaceName,
  address: address as Ipv4Address,
  site,
  bootUrl: `http://${address}:8080`,
  agentUrl: `https://${address}:8443`,
  hostname,
  services: () => (directory === undefined ? [] : readServices(directory).services),
  log: silentLog,
  clock: systemClock,
  openSocket: async (options, log) => {
    const socket = await openDatagramSocket(options, log);
    if (delayMs === "0") return socket;
    return {
      ...socket,
      send: (...datagram) => void setTimeout(() => socket.send(...datagram), Number(delayMs)),
    };
  },
});
process.stdout.write(`${site.serverKey}\n`);
process.on("SIGTERM", () => void discovery.close().then(() => process.exit(0)));
