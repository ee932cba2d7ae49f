/**
 * `npm run -s bench -- dhcp|tftp|http`: our server and the best known ones in turn,
 * in network namespaces of their own. What each row means: the head of `bench/<name>.ts`.
 */

import { join, resolve } from "node:path";
import { benchAmplification } from "./bench/amplification.ts";
import { openArena } from "./bench/arena.ts";
import { benchDhcp } from "./bench/dhcp.ts";
import { benchFlood } from "./bench/flood.ts";
import { benchHttp } from "./bench/http.ts";
import { benchJobs } from "./bench/jobs.ts";
import type { BenchContext } from "./bench/rounds.ts";
import { type Row, tableOf } from "./bench/rows.ts";
import { benchTftp } from "./bench/tftp.ts";
import { cleanUpOnSignals, createCleanup } from "./lab/cleanup.ts";
import { benchPackages } from "./setup/needs.ts";
import { ensurePackages } from "./setup/packages.ts";
import { readArguments, refuse } from "./usage.ts";

const benches: Readonly<Record<string, (context: BenchContext) => Promise<readonly Row[]>>> = {
  dhcp: benchDhcp,
  tftp: benchTftp,
  http: benchHttp,
  flood: benchFlood,
  amplification: benchAmplification,
  jobs: benchJobs,
};

const usage = `
npm run -s bench -- ${Object.keys(benches).join("|")}: our server and its peers in turn; medians

  --json         rows as a JSON array on standard output: metric, ours, peer, peerName, ratio, unit
  --rounds 3     how often all are measured
  --seconds 5    how long one measurement takes
  --only NAME    metrics whose name begins so, e.g. "throughput w1 "
  --checkout DIR our server from another checkout, to compare versions
  --baselines DIR
                 compare with the npm packages tftp and dhcp too, which were installed there

Progress is on standard error. Needs root; Debian packages that are missing are installed.
`;

async function main(): Promise<number> {
  const { values, positionals } = readArguments(usage, {
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      rounds: { type: "string", default: "3" },
      seconds: { type: "string", default: "5" },
      only: { type: "string" },
      baselines: { type: "string" },
      checkout: { type: "string", default: join(import.meta.dirname, "..") },
    },
  });
  const [name = ""] = positionals;
  const bench = benches[name];
  if (!bench || positionals.length > 1) refuse(`which one? ${Object.keys(benches).join(", ")}`);
  const rounds = Number(values.rounds);
  const seconds = Number(values.seconds);
  if (!Number.isInteger(rounds) || rounds < 1) refuse(`--rounds ${values.rounds} is not 1 or more`);
  if (!(seconds > 0)) refuse(`--seconds ${values.seconds} is not a time`);
  if (process.getuid?.() !== 0) {
    process.stderr.write("error: network namespaces need root\nhint: sudo npm run -s bench\n");
    return 1;
  }
  const cleanup = createCleanup();
  cleanUpOnSignals(cleanup);
  try {
    const say = (line: string) => void process.stderr.write(`${line}\n`);
    await ensurePackages(benchPackages, say);
    const context: BenchContext = {
      arena: openArena(cleanup),
      cleanup,
      rounds,
      seconds,
      only: values.only,
      checkout: resolve(values.checkout),
      baselines: values.baselines === undefined ? undefined : resolve(values.baselines),
      say,
    };
    const rows = await bench(context);
    process.stdout.write(values.json ? `${JSON.stringify(rows, null, 2)}\n` : `${tableOf(rows)}\n`);
    return 0;
  } catch (error) {
    process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
    const { remedy } = error as { remedy?: string };
    if (remedy !== undefined) process.stderr.write(`hint: ${remedy}\n`);
    return 1;
  } finally {
    cleanup.run();
  }
}

process.exitCode = await main();
