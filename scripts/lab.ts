/**
 * `npm run -s lab -- pi3`: a rack of simulated boards (`marcoboot sim`) boots again
 * and again from our server and from dnsmasq in turn, powered on together and one
 * after the other, in namespaces of its own.
 *
 * A board counts as booted when its verdict says so and its kernel came whole.
 * Each trial has a server without leases and boards nobody has seen.
 */

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import {
  type BootServerName,
  type BootTree,
  bootServerNames,
  makeBootTree,
  prepareHosts,
  startBootServer,
} from "./lab/boot-servers.ts";
import { type Cleanup, cleanUpOnSignals, createCleanup, endProcess } from "./lab/cleanup.ts";
import { inNamespace } from "./lab/command.ts";
import { createNetwork, type LabNetwork, removeStaleNamespaces } from "./lab/namespaces.ts";
import { readArguments, refuse } from "./usage.ts";

const models = ["pi3", "pi4", "pi5"] as const;

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

interface Options {
  readonly model: (typeof models)[number];
  readonly runs: number;
  readonly boards: number;
  readonly staggerSeconds: number;
  readonly servers: readonly BootServerName[];
  readonly powered: readonly Powered[];
  readonly kernelMiB: number;
  readonly alwaysArp: boolean;
  readonly openOnce: boolean;
  readonly timeoutSeconds: number;
  readonly checkout: string;
  readonly json: boolean;
}

type Powered = "together" | "staggered";

interface Trial {
  readonly server: BootServerName;
  readonly powered: Powered;
  readonly booted: number;
  readonly seconds: number;
  /** Of each board, from its power-on. */
  readonly boardSeconds: readonly number[];
  readonly reasons: readonly string[];
}

/** What `marcoboot sim --json` prints, as far as it is used here. */
interface SimulationSummary {
  readonly tookMs: number;
  readonly boards: readonly {
    readonly tookMs: number;
    readonly ending: { readonly outcome: string; readonly reason?: string };
    readonly files: readonly { readonly name: string; readonly crc32: string }[];
  }[];
}

const root = join(import.meta.dirname, "..");

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

interface Stage {
  readonly network: LabNetwork;
  readonly boards: string;
  readonly router: string;
  readonly tree: BootTree;
  readonly directory: string;
  readonly cleanup: Cleanup;
}

function prepareStage(options: Options, cleanup: Cleanup): Stage {
  removeStaleNamespaces();
  const network = createNetwork("10.77.0.1/24", cleanup);
  const boards = network.addHost("boards", "52:54:00:5f:00:01");
  const router = network.addHost("router", "52:54:00:5f:00:02");
  prepareHosts(boards, router);
  const directory = mkdtempSync("/var/tmp/marcoboot-lab-");
  cleanup.add(directory, () => rmSync(directory, { recursive: true, force: true }));
  const tree = makeBootTree(join(directory, "tree"), options.kernelMiB * 1024 * 1024);
  return { network, boards, router, tree, directory, cleanup };
}

async function tryOnce(
  stage: Stage,
  options: Options,
  server: BootServerName,
  powered: Powered,
  serial: number,
): Promise<Trial> {
  const directory = join(stage.directory, `trial-${serial}`);
  const running = await startBootServer({
    name: server,
    network: stage.network,
    routerNamespace: stage.router,
    tree: stage.tree,
    directory,
    checkout: options.checkout,
    cleanup: stage.cleanup,
  });
  try {
    const summary = await simulate(stage, options, powered, serial);
    return judge(summary, stage.tree, server, powered);
  } finally {
    await running.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

function simulate(
  stage: Stage,
  options: Options,
  powered: Powered,
  serial: number,
): Promise<SimulationSummary> {
  const prefix = { pi3: "b8:27:eb", pi4: "dc:a6:32", pi5: "2c:cf:67" }[options.model];
  const trial = [serial >> 8, serial & 0xff].map((one) => one.toString(16).padStart(2, "0"));
  const [command, args] = inNamespace(stage.boards, process.execPath, [
    join(root, "server", "cli", "main.ts"),
    ...["sim", options.model, "--json", "--interface", "eth0"],
    ...["--count", `${options.boards}`, "--timeout", `${options.timeoutSeconds}s`],
    ...["--first-mac", `${prefix}:${trial.join(":")}:01`],
    ...["--stagger", powered === "staggered" ? `${options.staggerSeconds}s` : "0s"],
    ...(options.alwaysArp ? ["--always-arp"] : []),
    ...(options.openOnce ? ["--open-once"] : []),
  ]);
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  const forget = stage.cleanup.add("simulated boards", () => endProcess(child.pid));
  let output = "";
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  return new Promise<SimulationSummary>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", () => {
      try {
        resolve(JSON.parse(output) as SimulationSummary);
      } catch (cause) {
        reject(new Error(`the simulation said: ${said.trim()}`, { cause }));
      }
    });
  }).finally(forget);
}

function judge(
  summary: SimulationSummary,
  tree: BootTree,
  server: BootServerName,
  powered: Powered,
): Trial {
  const reasons: string[] = [];
  const boardSeconds: number[] = [];
  for (const { ending, files, tookMs } of summary.boards) {
    const wrong = files.find(({ name, crc32 }) => {
      const right = tree.checksums.get(name.slice(name.lastIndexOf("/") + 1));
      return right !== undefined && right !== crc32;
    });
    if (ending.outcome === "booted" && !wrong) boardSeconds.push(tookMs / 1000);
    else reasons.push(wrong ? `${wrong.name}: wrong content` : (ending.reason ?? ending.outcome));
  }
  const booted = boardSeconds.length;
  return { server, powered, booted, seconds: summary.tookMs / 1000, boardSeconds, reasons };
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

async function main(): Promise<number> {
  const options = readOptions();
  if (process.getuid?.() !== 0) {
    process.stderr.write("error: network namespaces need root\nhint: sudo npm run -s lab\n");
    return 1;
  }
  const cleanup = createCleanup();
  cleanUpOnSignals(cleanup);
  try {
    const stage = prepareStage(options, cleanup);
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
  } finally {
    cleanup.run();
  }
}

process.exitCode = await main();
