/**
 * The real tables of boot files behind a real TFTP server, as a process of its own, for a
 * namespace. Says `ready`. A Raspberry Pi 4 boots at 10.77.0.2.
 *
 *   node boot-files-child.ts <interface> <address> <directory to make the files in>
 */

import { join } from "node:path";
import { parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import { createBoot } from "../../server/boot/profile.ts";
import { systemClock } from "../../server/clock.ts";
import { parseConfig } from "../../server/config.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { startTftp } from "../../server/tftp/server.ts";
import { client, node, serverKey, writeArtefacts } from "../boot/setup.ts";

const [interfaceName = "", text = "", directory = ""] = process.argv.slice(2);
const address = parseIpv4Address(text);
const mac = parseMacAddress("dc:a6:32:77:00:02");
writeArtefacts(directory);
const config = parseConfig(
  `netinstDirectory: netinst
loadersDirectory: loaders
subnets: [{ cidr: 10.77.0.0/24, interface: ${interfaceName}, reserved: [10.77.0.2, 10.77.0.9] }]`,
  join(directory, "marcoboot.yaml"),
);
const events = createEventBus(silentLog);
const leases = { macOf: () => mac };
const server = { address, httpUrl: `http://${address}:8080` };
const boot = createBoot({
  config,
  store: {
    nodes: { byMac: () => node(mac) },
    tasks: { unfinishedOf: () => [], put: () => undefined },
    jobs: { get: () => undefined },
  },
  images: { bootFilesOf: () => directory },
  leases,
  windows: { tokenFor: () => "0".repeat(32) },
  site: { serverKey },
  servers: [server],
  events,
  log: silentLog,
});
boot.reply(client(mac, { firmware: "raspberry-pi-4", serial: "3277ab02" }), server);
const tftp = await startTftp({
  config: {
    tftpPort: 69,
    tftp: { transfers: 64, transfersPerPeer: 4, allowFragments: false, engine: "batched" },
  },
  ...{ interfaceName, address, files: boot.files, events, clock: systemClock, log: silentLog },
  leases,
});
process.once("SIGTERM", () => void tftp.close());
process.stdout.write("ready\n");
