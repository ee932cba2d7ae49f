/**
 * A known node boots while somebody floods the network: our server against dnsmasq,
 * the other one that answers DHCP and TFTP both.
 *
 *   metric                    better  what it is
 *   boot time quiet           less    ms from the first DISCOVER to the last octet of a file of 8 MiB, by TFTP
 *                                     block by block; one node, boot after boot; median
 *   boot time in flood        less    the same while 100,000 DISCOVERs with random MAC addresses arrive, 10,000 a second
 *   boot time flood / quiet   less    the one divided by the other
 *
 * The node is known in that it has booted before; in dnsmasq's configuration it has an entry.
 * A boot under way when the flood ends counts with the time it has taken.
 */

import { join } from "node:path";
import { firstClient, loaderAddress, serverAddress } from "./arena.ts";
import { bootFileBytes, bootFileName, writeBootFile } from "./content.ts";
import { marcoboot } from "./ours.ts";
import { dnsmasqBoot } from "./peers.ts";
import { type BenchContext, compare } from "./rounds.ts";
import { type Metric, median, type Row } from "./rows.ts";

const quietBoot: Metric = { name: "boot time quiet", unit: "ms", better: "less" };
const floodBoot: Metric = { name: "boot time in flood", unit: "ms", better: "less" };
const slowdown: Metric = { name: "boot time flood / quiet", unit: "x", better: "less" };

const floodCount = 100_000;
const floodRate = 10_000;

export async function benchFlood(context: BenchContext): Promise<readonly Row[]> {
  const { arena, checkout, seconds, say } = context;
  const content = writeBootFile(join(arena.directory, "files"));
  const program = (name: string) => join(import.meta.dirname, name);
  const boots = async (duration: number) => {
    const args = [
      firstClient,
      serverAddress,
      bootFileName,
      String(bootFileBytes),
      String(duration),
    ];
    const output = await arena.load(process.execPath, [program("boots.ts"), ...args]);
    return JSON.parse(output) as readonly number[];
  };
  return await compare(
    context,
    marcoboot(content, checkout),
    [dnsmasqBoot(content)],
    async (trial) => {
      await boots(2); // known from now on, and warm
      const quiet = (await boots(seconds)).slice(0, -1);
      const flood = arena.load(process.execPath, [
        ...[program("flood-load.ts"), loaderAddress, String(floodCount), String(floodRate)],
      ]);
      const flooded = await boots(floodCount / floodRate);
      say(
        `    ${quiet.length} boots, then ${flooded.length} in the flood: ${(await flood).trim()}`,
      );
      trial.record(quietBoot, median(quiet));
      trial.record(floodBoot, median(flooded));
      trial.record(slowdown, median(flooded) / median(quiet));
    },
  );
}
