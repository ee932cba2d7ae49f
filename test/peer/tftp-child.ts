/**
 * A TFTP server as a process of its own, for a namespace. Says `ready` and the
 * engine; on SIGTERM what it counted, as JSON.
 *
 *   node tftp-child.ts <interface> <address> <file> <members of `tftp` as JSON>
 *
 * Only addresses of 10.77.0.0/24 boot here.
 */

import { readFileSync } from "node:fs";
import { parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import { bootFile } from "../../server/boot/file-cache.ts";
import { systemClock } from "../../server/clock.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { startTftp } from "../../server/tftp/server.ts";

const [interfaceName = "", address = "", path = "", settings = "{}"] = process.argv.slice(2);
const file = bootFile("kernel", readFileSync(path), '"1"');
const mac = parseMacAddress("52:54:00:00:00:01");
const server = await startTftp({
  config: {
    tftpPort: 69,
    tftp: {
      ...{ transfers: 64, transfersPerPeer: 4, allowFragments: false, engine: "batched" },
      ...JSON.parse(settings),
    },
  },
  interfaceName,
  address: parseIpv4Address(address),
  files: { open: (name) => (name === "kernel" ? file : undefined) },
  events: createEventBus(silentLog),
  clock: systemClock,
  log: silentLog,
  leases: { macOf: (peer) => (peer.startsWith("10.77.0.") ? mac : undefined) },
});
process.once("SIGTERM", () => {
  void server.close().then(() => {
    process.stdout.write(`${JSON.stringify(server.counts())}\n`);
  });
});
process.stdout.write(`ready ${server.engine}\n`);
