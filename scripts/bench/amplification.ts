/**
 * What a forger can make a TFTP server send to others: our server against tftpd-hpa and dnsmasq.
 *
 *   metric                       better  what it is
 *   amplification plain          less    octets sent toward peers without a lease / octets received from them,
 *                                        for read requests without options; headers included
 *   amplification options        less    the same, with blksize, tsize and windowsize
 *   amplification no such file   less    the same, for a name that does not exist
 *
 * 48 addresses ask once each and never acknowledge; what arrives within 20 s is counted
 * (the peers go on longer). 1.0 or less: the server is of no use to a forger.
 */

import { join } from "node:path";
import type { AmplificationLoad, AmplificationResult } from "./amplification-load.ts";
import { clientCount, firstClient, serverAddress } from "./arena.ts";
import { bootFileName, writeBootFile } from "./content.ts";
import { marcoboot } from "./ours.ts";
import { dnsmasqTftp, tftpdHpa } from "./peers.ts";
import { admitClients, type BenchContext, compare, isWanted } from "./rounds.ts";
import type { Metric, Row } from "./rows.ts";

const listenSeconds = 20;
const metric = (name: string): Metric => ({
  name: `amplification ${name}`,
  unit: "x",
  better: "less",
});
const cases: readonly { readonly metric: Metric; readonly words: readonly string[] }[] = [
  { metric: metric("plain"), words: [bootFileName, "octet"] },
  {
    metric: metric("options"),
    words: [
      ...[bootFileName, "octet", "tsize", "0", "blksize", "1468"],
      ...["windowsize", "16", "timeout", "1"],
    ],
  },
  { metric: metric("no such file"), words: ["no-such-file", "octet"] },
];

export async function benchAmplification(context: BenchContext): Promise<readonly Row[]> {
  const { arena, checkout, say } = context;
  const content = writeBootFile(join(arena.directory, "files"));
  const peers = [tftpdHpa(content), dnsmasqTftp(content)];
  return await compare(context, marcoboot(content, checkout), peers, async (trial) => {
    await admitClients(context, 0);
    for (const { metric, words } of cases) {
      if (!isWanted(context, metric.name)) continue;
      const load: AmplificationLoad = {
        server: serverAddress,
        firstClient,
        clients: clientCount,
        words,
        seconds: listenSeconds,
      };
      const program = join(import.meta.dirname, "amplification-load.ts");
      const output = await arena.load(process.execPath, [program, JSON.stringify(load)]);
      const result = JSON.parse(output) as AmplificationResult;
      trial.record(metric, result.bytesReceived / result.bytesSent);
      say(`    ${result.datagramsReceived} datagrams came back`);
    }
  });
}
