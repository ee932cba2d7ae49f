/**
 * A DHCP server as a process of its own, for a namespace: reserves what it is told,
 * says `ready`, and on SIGTERM says what it counted.
 *
 *   node dhcp-child.ts <interface> <mac>=<address>...
 */

import { parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import { systemClock } from "../../server/clock.ts";
import { parseConfig } from "../../server/config.ts";
import { startDhcp } from "../../server/dhcp/server.ts";
import { createEventBus, unhurried } from "../../server/events.ts";
import { noAdmission } from "../../server/lease/admission.ts";
import { createLeases } from "../../server/lease/leases.ts";
import { createLog } from "../../server/log.ts";
import { createNeighbours } from "../../server/net/neighbours.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";

const [interfaceName = "", ...reservations] = process.argv.slice(2);
const config = parseConfig(
  JSON.stringify({
    subnets: [
      {
        cidr: "10.77.0.0/24",
        interface: interfaceName,
        reserved: ["10.77.0.10", "10.77.0.99"],
        router: "10.77.0.254",
      },
    ],
  }),
  "dhcp-child.yaml",
);
const [subnet] = config.subnets;
if (!subnet) throw new RangeError("no subnet");

const log = createLog("warn");
const store = openSqliteStore(":memory:");
const events = createEventBus(log);
const leases = createLeases({ store, clock: systemClock, events });
for (const [index, text] of reservations.entries()) {
  const [mac = "", address = ""] = text.split("=");
  leases.reserve({
    mac: parseMacAddress(mac),
    subnet,
    address: parseIpv4Address(address),
    hostname: `node-${index + 1}`,
  });
}
const server = await startDhcp({
  config,
  leases,
  admission: noAdmission,
  boot: { reply: () => undefined },
  neighbours: await createNeighbours(),
  events: unhurried(events, { clock: systemClock, log }),
  clock: systemClock,
  log,
});
process.once("SIGTERM", () => {
  process.stdout.write(`${JSON.stringify(Object.assign({}, ...server.counts().values()))}\n`);
  void server.close().then(() => store.close());
});
process.stdout.write("ready\n");
