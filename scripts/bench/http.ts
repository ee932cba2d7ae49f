/**
 * HTTP boot: our server against nginx; the same files, clients, connections.
 *
 *   metric                        better  what it is
 *   throughput large c48          more    MB a second at 48 clients together, a file of 8 MiB again and again
 *   cpu per MB large c48          less    CPU milliseconds the server's control group used for 1 MB
 *   requests/s small c48          more    answers a second, a file of 64 KiB
 *   cpu per request small c48     less    CPU microseconds for one of them
 *   latency small c1              less    ms from request to last octet, one client alone; median
 *   latency beside slow           less    the same file, one client, while 200 connections take 1 KiB a second
 *                                         of the large file
 *
 * Connections are kept alive, one for each client, as long as the server lets them; no TLS, as firmware fetches. Each
 * measurement is `--seconds` long after a warm-up that is not counted.
 */

import { join } from "node:path";
import { clientCount, firstClient, serverAddress } from "./arena.ts";
import {
  bootFileName,
  smallFileBytes,
  smallFileName,
  writeBootFile,
  writeContent,
} from "./content.ts";
import type { HttpLoad, HttpLoadResult } from "./http-load.ts";
import { bootPort, marcoboot } from "./ours.ts";
import { nginx } from "./peers.ts";
import { admitClients, type BenchContext, compare, isWanted, type Trial } from "./rounds.ts";
import type { Metric, Row } from "./rows.ts";

const metrics = {
  throughput: { name: "throughput large c48", unit: "MB/s", better: "more" },
  cpuPerMegabyte: { name: "cpu per MB large c48", unit: "ms/MB", better: "less" },
  requests: { name: "requests/s small c48", unit: "1/s", better: "more" },
  cpuPerRequest: { name: "cpu per request small c48", unit: "µs", better: "less" },
  latency: { name: "latency small c1", unit: "ms", better: "less" },
  latencyBesideSlow: { name: "latency beside slow", unit: "ms", better: "less" },
} as const satisfies Record<string, Metric>;

interface Fetched {
  readonly result: HttpLoadResult;
  readonly cpuSeconds: number;
}

export async function benchHttp(context: BenchContext): Promise<readonly Row[]> {
  const directory = join(context.arena.directory, "files");
  const large = writeBootFile(directory);
  const small = writeContent(join(directory, smallFileName), smallFileBytes);
  const ours = marcoboot(large, context.checkout);
  return await compare(context, ours, [nginx(large)], async (trial) => {
    const { seconds } = context;
    await admitClients(context, trial.contender === ours ? clientCount : 0);
    const wants = (...some: readonly Metric[]) => some.some(({ name }) => isWanted(context, name));
    await fetch(context, trial, small, { clients: clientCount, seconds: 1 });
    await fetch(context, trial, large, { clients: 4, seconds: 0.5 });
    if (wants(metrics.throughput, metrics.cpuPerMegabyte)) {
      const { result, cpuSeconds } = await fetch(context, trial, large, {
        clients: clientCount,
        seconds,
      });
      trial.record(metrics.throughput, result.bytesInTime / 1e6 / seconds);
      trial.record(metrics.cpuPerMegabyte, (cpuSeconds * 1000) / (result.bytes / 1e6));
    }
    if (wants(metrics.requests, metrics.cpuPerRequest)) {
      const { result, cpuSeconds } = await fetch(context, trial, small, {
        clients: clientCount,
        seconds,
      });
      trial.record(metrics.requests, result.answersInTime / seconds);
      trial.record(metrics.cpuPerRequest, (cpuSeconds * 1e6) / result.answers);
    }
    if (wants(metrics.latency)) {
      const { result } = await fetch(context, trial, small, { clients: 1, seconds });
      trial.record(metrics.latency, result.medianMs);
    }
    if (wants(metrics.latencyBesideSlow)) await besideSlowReaders(context, trial, small, large);
  });
}

const slowReaders = 200;

/** Two load generators at once: the slow ones take the large file, the quick one the small file. */
async function besideSlowReaders(
  context: BenchContext,
  trial: Trial,
  small: string,
  large: string,
): Promise<void> {
  const { seconds } = context;
  const slow = fetch(context, trial, large, { clients: 0, slowReaders, seconds: seconds + 3 });
  const quick = fetch(context, trial, small, { clients: 1, seconds, delay: 3 });
  const [{ result: left }, { result }] = await Promise.all([slow, quick]);
  trial.record(metrics.latencyBesideSlow, result.medianMs);
  context.say(`    ${left.slowReadersLeft} of ${slowReaders} slow readers still connected`);
}

interface How {
  readonly clients: number;
  readonly seconds: number;
  readonly slowReaders?: number;
  /** Seconds before the first request. */
  readonly delay?: number;
}

async function fetch(
  { arena, say }: BenchContext,
  { running }: Trial,
  content: string,
  { clients, seconds, slowReaders = 0, delay = 0 }: How,
): Promise<Fetched> {
  const load: HttpLoad = {
    server: serverAddress,
    port: bootPort,
    path: `/boot/loaders/${content.endsWith(bootFileName) ? bootFileName : smallFileName}`,
    expected: content,
    firstClient,
    addresses: clientCount,
    clients,
    slowReaders,
    delay,
    seconds,
  };
  const before = running.cpuSeconds();
  const program = join(import.meta.dirname, "http-load.ts");
  const output = await arena.load(process.execPath, [program, JSON.stringify(load)]);
  const result = JSON.parse(output) as HttpLoadResult;
  say(`    load generator ${Math.round(result.busy * 100)} % of a core`);
  return { result, cpuSeconds: running.cpuSeconds() - before };
}
