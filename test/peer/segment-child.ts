/**
 * A DHCP server as a process of its own, for a namespace. Says `{"ready":true}`, then
 * every event of another server, and on SIGTERM what it counted. One line of JSON each.
 *
 *   node segment-child.ts <configuration> <mac>=<address>...
 */

import { parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import { familyOf } from "../../server/boot/firmware/registry.ts";
import { systemClock } from "../../server/clock.ts";
import { readConfig } from "../../server/config.ts";
import { startDhcp } from "../../server/dhcp/server.ts";
import { createNeighbourKeeper, createSightings } from "../../server/dhcp/sightings.ts";
import { createEventBus, unhurried } from "../../server/events.ts";
import { noAdmission } from "../../server/lease/admission.ts";
import { contains, createLeases } from "../../server/lease/leases.ts";
import { createLog } from "../../server/log.ts";
import { neighbourOf } from "../../server/net/neighbour-table.ts";
import { createNeighbours } from "../../server/net/neighbours.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";

const [path = "", ...reservations] = process.argv.slice(2);
const config = readConfig(path);
const log = createLog("silent");
const store = openSqliteStore(":memory:");
const events = createEventBus(log);
const leases = createLeases({ store, clock: systemClock, events });
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);

for (const text of reservations) {
  const [mac = "", address = ""] = text.split("=");
  const subnet = config.subnets.find((one) => contains(one, parseIpv4Address(address)));
  if (!subnet) throw new RangeError(`${address} is in no subnet`);
  leases.reserve({ mac: parseMacAddress(mac), subnet, address: parseIpv4Address(address) });
}
events.subscribe((event) => {
  if (event.topic === "rogue-server" || event.topic === "dhcp") say(event);
});
const neighbours = await createNeighbours();
const keeper = createNeighbourKeeper({ subnets: config.subnets, neighbours, log });
const server = await startDhcp({
  config,
  leases,
  admission: noAdmission,
  boot: {
    reply: (client, own) =>
      client.firmware && familyOf(client.firmware)?.reply(client, own, "ipxe"),
  },
  neighbours,
  events: unhurried(events, { clock: systemClock, log }),
  clock: systemClock,
  log,
  sightings: createSightings({ clock: systemClock, neighbourOf, keeper }),
});
process.once("SIGTERM", () => {
  say({ counts: Object.assign({}, ...server.counts().values()) });
  void server.close().then(() => store.close());
});
say({ ready: true });
