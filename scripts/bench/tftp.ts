/**
 * TFTP: our server against tftpd-hpa and dnsmasq; the same file, clients, options.
 *
 *   metric                          better  what it is
 *   throughput w16 c4               more    MB a second at all clients together; windowsize 16, 4 clients
 *   cpu per MB w16 c4               less    CPU milliseconds the server's control group used for 1 MB
 *   ... w16 c48, w4 c48, w1 c48             windowsize 4 is what EDK2 asks for, 1 is plain TFTP (no such option)
 *
 * blksize is 1468 throughout. A peer that does not know the option windowsize (RFC 7440)
 * declines it, and is served block by block: that is what its clients get. Each
 * measurement is `--seconds` long after one round of fetches that is not counted;
 * transfers under way at its end are finished, and counted for CPU per MB only.
 */

import { join } from "node:path";
import { clientCount, firstClient, serverAddress } from "./arena.ts";
import { bootFileName, writeBootFile } from "./content.ts";
import { marcoboot } from "./ours.ts";
import { dnsmasqTftp, npmPackage, tftpdHpa } from "./peers.ts";
import { admitClients, type BenchContext, compare, isWanted, type Trial } from "./rounds.ts";
import type { Metric, Row } from "./rows.ts";
import type { TftpLoad, TftpLoadResult } from "./tftp-load.ts";

interface Case {
  readonly windowsize: number;
  readonly clients: number;
  readonly throughput: Metric;
  readonly cpu: Metric;
}

const cases = [
  [16, 4],
  [16, 48],
  [4, 48],
  [1, 48],
].map(([windowsize = 1, clients = 1]): Case => {
  const name = `w${windowsize} c${clients}`;
  return {
    windowsize,
    clients,
    throughput: { name: `throughput ${name}`, unit: "MB/s", better: "more" },
    cpu: { name: `cpu per MB ${name}`, unit: "ms/MB", better: "less" },
  };
});

export async function benchTftp(context: BenchContext): Promise<readonly Row[]> {
  const content = writeBootFile(join(context.arena.directory, "files"));
  const ours = marcoboot(content, context.checkout);
  const baselines =
    context.baselines === undefined ? [] : [npmPackage("tftp", context.baselines, content)];
  const peers = [tftpdHpa(content), dnsmasqTftp(content), ...baselines];
  return await compare(context, ours, peers, async (trial) => {
    await admitClients(context, trial.contender === ours ? clientCount : 0);
    await fetch(context, trial, content, { windowsize: 16, clients: clientCount, seconds: 0.5 });
    for (const one of cases) {
      if (!isWanted(context, one.throughput.name) && !isWanted(context, one.cpu.name)) continue;
      const { result, cpuSeconds } = await fetch(context, trial, content, {
        ...one,
        seconds: context.seconds,
      });
      trial.record(one.throughput, result.bytesInTime / 1e6 / result.seconds);
      trial.record(one.cpu, (cpuSeconds * 1000) / (result.bytes / 1e6));
      context.say(
        `    granted blksize ${result.blksize} windowsize ${result.windowsize}, ` +
          `${result.transfers} transfers, ${result.repeats} repeats, ` +
          `load generator ${Math.round(result.busy * 100)} % of a core`,
      );
    }
  });
}

async function fetch(
  { arena }: BenchContext,
  { running }: Trial,
  content: string,
  how: Pick<TftpLoad, "windowsize" | "clients" | "seconds">,
): Promise<{ readonly result: TftpLoadResult; readonly cpuSeconds: number }> {
  const load: TftpLoad = {
    server: serverAddress,
    file: bootFileName,
    expected: content,
    firstClient,
    blksize: 1468,
    windowsize: how.windowsize,
    clients: how.clients,
    seconds: how.seconds,
  };
  const before = running.cpuSeconds();
  const program = join(import.meta.dirname, "tftp-load.ts");
  const output = await arena.load(process.execPath, [program, JSON.stringify(load)]);
  return {
    result: JSON.parse(output) as TftpLoadResult,
    cpuSeconds: running.cpuSeconds() - before,
  };
}
