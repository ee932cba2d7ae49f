/**
 * A known node boots while somebody floods the network: our server against dnsmasq,
 * the other one that answers DHCP and TFTP both.
 *
 *   metric                    better  what it is
 *   boot time quiet           less    ms from the first DISCOVER to the last octet of a file of 8 MiB, by TFTP
 *                                     block by block; one node, boot after boot; median
 *   boot time in flood        less    the same while 100,000 DISCOVERs with random MAC addresses arrive, 10,000 a second
 *   boot time flood / quiet   less    the one divided by the other
 *   EDK2 boot flood / quiet   less    likewise, for a simulated UEFI firmware with its own waits (4 s before its
 *                                     REQUEST, windowsize 4): what a person sees
 *
 * Both nodes are known in that they have booted before; in dnsmasq's configuration they have
 * entries. A boot under way when the flood ends counts with the time it has taken.
 */

import { join } from "node:path";
import { firstClient, loaderAddress, serverAddress } from "./arena.ts";
import { bootFileBytes, bootFileName, writeBootFile } from "./content.ts";
import { marcoboot } from "./ours.ts";
import { dnsmasqBoot } from "./peers.ts";
import { admitClients, type BenchContext, compare, isWanted } from "./rounds.ts";
import { type Metric, median, type Row } from "./rows.ts";

const quietBoot: Metric = { name: "boot time quiet", unit: "ms", better: "less" };
const floodBoot: Metric = { name: "boot time in flood", unit: "ms", better: "less" };
const slowdown: Metric = { name: "boot time flood / quiet", unit: "x", better: "less" };
const slowdownEdk2: Metric = { name: "EDK2 boot flood / quiet", unit: "x", better: "less" };

/** Of the arena's clients, and one whose address the kernel does not own: the simulator speaks for it. */
const romNode = { mac: "02:00:0a:40:01:01", address: firstClient };
const edk2Node = { mac: "02:00:0a:40:02:01", address: "10.64.2.1" };
const floodCount = 100_000;
const floodRate = 10_000;

export async function benchFlood(context: BenchContext): Promise<readonly Row[]> {
  const { arena, checkout, seconds, say } = context;
  const content = writeBootFile(join(arena.directory, "files"));
  const ours = marcoboot(content, checkout);
  return await compare(
    context,
    ours,
    [dnsmasqBoot(content, [romNode, edk2Node])],
    async (trial) => {
      await admitClients(context, 1);
      if (isWanted(context, quietBoot.name)) {
        await romBoots(context, 2); // known from now on, and warm
        const quiet = (await romBoots(context, seconds)).slice(0, -1);
        const flood = startFlood(context);
        const flooded = await romBoots(context, floodCount / floodRate);
        await flood;
        say(`    ${quiet.length} boots, then ${flooded.length} in the flood`);
        trial.record(quietBoot, median(quiet));
        trial.record(floodBoot, median(flooded));
        trial.record(slowdown, median(flooded) / median(quiet));
      }
      if (isWanted(context, slowdownEdk2.name)) {
        await edk2Boot(context);
        const quiet = await edk2Boot(context);
        const flood = startFlood(context);
        const flooded = await edk2Boot(context);
        await flood;
        say(`    EDK2: ${quiet} ms, in the flood ${flooded} ms`);
        trial.record(slowdownEdk2, flooded / quiet);
      }
    },
  );
}

const program = (name: string) => join(import.meta.dirname, name);

/** Milliseconds of each boot. */
async function romBoots({ arena }: BenchContext, seconds: number): Promise<readonly number[]> {
  const { address } = romNode;
  const args = [address, serverAddress, bootFileName, String(bootFileBytes), String(seconds)];
  const output = await arena.load(process.execPath, [program("boots.ts"), ...args]);
  return JSON.parse(output) as readonly number[];
}

async function startFlood({ arena, say }: BenchContext): Promise<void> {
  const args = [loaderAddress, String(floodCount), String(floodRate)];
  const output = await arena.load(process.execPath, [program("flood-load.ts"), ...args]);
  const { sent, seconds } = JSON.parse(output) as { sent: number; seconds: number };
  say(`    flood: ${sent} DISCOVERs in ${seconds.toFixed(1)} s`);
}

/** Milliseconds of one boot, or of the attempt. */
async function edk2Boot({ arena, checkout }: BenchContext): Promise<number> {
  const output = await arena.load(
    process.execPath,
    [
      ...[join(checkout, "server", "cli", "main.ts"), "sim", "edk2", "--json"],
      ...["--interface", "eth0", "--first-mac", edk2Node.mac, "--timeout", "60s"],
    ],
    [0, 1, 3],
  );
  return (JSON.parse(output) as { readonly tookMs: number }).tookMs;
}
