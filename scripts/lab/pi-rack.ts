/**
 * `npm run -s lab -- pi3`: a rack of simulated boards (`marcoboot sim`) boots again
 * and again from our server and from dnsmasq in turn, powered on together and one
 * after the other, in namespaces of its own.
 *
 * A board counts as booted when its verdict says so and its kernel came whole.
 * Each trial has a server without leases and boards nobody has seen.
 */

import { join, resolve } from "node:path";
import { readArguments, refuse } from "../usage.ts";
import { type BootServerName, bootServerNames } from "./boot-servers.ts";
import type { Cleanup } from "./cleanup.ts";
import {
  models,
  type Powered,
  prepareStage,
  type Trial,
  type TrialOptions,
  tryOnce,
} from "./rack-trial.ts";

const usage = `
npm run -s lab -- ${models.join("|")}: a rack of simulated boards boots from our server and from dnsmasq

  --runs 20       trials of each server and each way to power on
  --boards 48     at once
  --stagger 0.5   seconds between two boards of the staggered trials
  --servers marcoboot,dnsmasq-proxy    also ${bootServerNames.slice(2).join(", ")}
  --powered together,staggered
  --kernel 8      its size in MiB
  --always-arp    the boards answer ARP where their firmware would not
  --open-once     and open no file twice at once
  --timeout 300   seconds each board gets
  --checkout DIR  our server from another checkout, to compare versions
  --json          rows as a JSON array on standard output

Progress is on standard error. Root and dnsmasq are needed.
`;

interface Options extends TrialOptions {
  readonly runs: number;
  readonly servers: readonly BootServerName[];
  readonly powered: readonly Powered[];
  readonly kernelMiB: number;
  readonly json: boolean;
}

const root = join(import.meta.dirname, "..", "..");

function readOptions(): Options {
  const { values, positionals } = readArguments(usage, {
    allowPositionals: true,
    options: {
      runs: { type: "string", default: "20" },
      boards: { type: "string", default: "48" },
      stagger: { type: "string", default: "0.5" },
      servers: { type: "string", default: "marcoboot,dnsmasq-proxy" },
      powered: { type: "string", default: "together,staggered" },
      kernel: { type: "string", default: "8" },
      "always-arp": { type: "boolean", default: false },
      "open-once": { type: "boolean", default: false },
      timeout: { type: "string", default: "300" },
      checkout: { type: "string", default: root },
      json: { type: "boolean", default: false },
    },
  });
  const model = models.find((one) => one === positionals[0]);
  if (!model || positionals.length > 1) refuse(`which boards? ${models.join(", ")}`);
  return {
    model,
    runs: count("runs", values.runs),
    boards: count("boards", values.boards),
    staggerSeconds: count("stagger", values.stagger),
    servers: chosen("servers", values.servers, bootServerNames),
    powered: chosen("powered", values.powered, ["together", "staggered"] as const),
    kernelMiB: count("kernel", values.kernel),
    alwaysArp: values["always-arp"],
    openOnce: values["open-once"],
    timeoutSeconds: count("timeout", values.timeout),
    checkout: resolve(values.checkout),
    json: values.json,
  };
}

function count(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) refuse(`--${name} ${text} is not more than 0`);
  return value;
}

function chosen<Name extends string>(
  option: string,
  text: string,
  known: readonly Name[],
): readonly Name[] {
  return text.split(",").map((word) => {
    const found = known.find((one) => one === word.trim());
    return found ?? refuse(`--${option} ${word}: there are ${known.join(", ")}`);
  });
}

interface Row {
  readonly server: BootServerName;
  readonly powered: Powered;
  readonly boards: number;
  readonly runs: number;
  /** Trials in which every board booted. */
  readonly complete: number;
  /** Fewest and most boards of one trial. */
  readonly worst: number;
  readonly best: number;
  /** Over all trials. */
  readonly bootedShare: number;
  /** From the first power-on to the last ending, median of the trials. */
  readonly seconds: number;
  /** Median over the boards that booted, from power-on to kernel. */
  readonly boardSeconds: number;
  readonly reasons: Readonly<Record<string, number>>;
}

function rowOf(trials: readonly Trial[], options: Options): Row | undefined {
  const [first] = trials;
  if (!first) return undefined;
  const booted = trials.map((trial) => trial.booted);
  const total = booted.reduce((sum, one) => sum + one, 0);
  const reasons: Record<string, number> = {};
  for (const reason of trials.flatMap((trial) => trial.reasons)) {
    reasons[reason] = (reasons[reason] ?? 0) + 1;
  }
  return {
    server: first.server,
    powered: first.powered,
    boards: options.boards,
    runs: trials.length,
    complete: booted.filter((one) => one === options.boards).length,
    worst: Math.min(...booted),
    best: Math.max(...booted),
    bootedShare: total / (trials.length * options.boards),
    seconds: median(trials.map((trial) => trial.seconds)),
    boardSeconds: median(trials.flatMap((trial) => trial.boardSeconds)),
    reasons,
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round((sorted[Math.floor(sorted.length / 2)] ?? 0) * 10) / 10;
}

function print(rows: readonly Row[]): void {
  for (const row of rows) {
    process.stdout.write(
      `${row.server.padEnd(14)} ${row.powered.padEnd(10)} complete ${row.complete}/${row.runs}  ` +
        `booted ${row.worst}-${row.best} of ${row.boards} (${(row.bootedShare * 100).toFixed(1)} %)  ` +
        `rack ${row.seconds} s  board ${row.boardSeconds} s\n`,
    );
    for (const [reason, times] of Object.entries(row.reasons).slice(0, 5)) {
      process.stdout.write(`${" ".repeat(15)}${times} x ${reason}\n`);
    }
  }
}

/** @returns the exit code: 1 when one of our racks was not complete. */
export async function runPiRack(cleanup: Cleanup): Promise<number> {
  const options = readOptions();
  const stage = prepareStage(options.kernelMiB, cleanup);
  const trials: Trial[] = [];
  let serial = 0;
  for (let run = 1; run <= options.runs; run++) {
    for (const powered of options.powered) {
      for (const server of options.servers) {
        serial += 1;
        const trial = await tryOnce(stage, options, server, powered, serial);
        trials.push(trial);
        process.stderr.write(
          `run ${run} ${server} ${powered}: ${trial.booted} of ${options.boards} in ${trial.seconds.toFixed(1)} s\n`,
        );
      }
    }
  }
  const rows = options.powered.flatMap((powered) =>
    options.servers.flatMap((server) => {
      const own = trials.filter((one) => one.server === server && one.powered === powered);
      return rowOf(own, options) ?? [];
    }),
  );
  if (options.json) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
  else print(rows);
  return rows.some((row) => row.server === "marcoboot" && row.complete < row.runs) ? 1 : 0;
}
