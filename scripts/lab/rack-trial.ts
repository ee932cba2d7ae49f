/**
 * One trial of a simulated rack: a server without leases, boards nobody has seen
 * (`marcoboot sim` in a process of its own), and what became of them.
 */

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  type BootServerName,
  type BootTree,
  makeBootTree,
  prepareHosts,
  startBootServer,
} from "./boot-servers.ts";
import { type Cleanup, endProcess } from "./cleanup.ts";
import { inNamespace } from "./command.ts";
import { createNetwork, type LabNetwork, removeStaleNamespaces } from "./namespaces.ts";

export const models = ["pi3", "pi4", "pi5"] as const;

export interface TrialOptions {
  readonly model: (typeof models)[number];
  readonly boards: number;
  readonly staggerSeconds: number;
  readonly alwaysArp: boolean;
  readonly openOnce: boolean;
  readonly timeoutSeconds: number;
  /** Where our server's source lies. */
  readonly checkout: string;
}

export type Powered = "together" | "staggered";

export interface Trial {
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

const root = join(import.meta.dirname, "..", "..");

export interface Stage {
  readonly network: LabNetwork;
  readonly boards: string;
  readonly router: string;
  readonly tree: BootTree;
  readonly directory: string;
  readonly cleanup: Cleanup;
}

export function prepareStage(kernelMiB: number, cleanup: Cleanup): Stage {
  removeStaleNamespaces();
  const network = createNetwork("10.77.0.1/24", cleanup);
  const boards = network.addHost("boards", "52:54:00:5f:00:01");
  const router = network.addHost("router", "52:54:00:5f:00:02");
  prepareHosts(boards, router);
  const directory = mkdtempSync("/var/tmp/marcoboot-lab-");
  cleanup.add(directory, () => rmSync(directory, { recursive: true, force: true }));
  const tree = makeBootTree(join(directory, "tree"), kernelMiB * 1024 * 1024);
  return { network, boards, router, tree, directory, cleanup };
}

/** One server, started and stopped for one power-on of the rack. @param serial - makes the boards' hardware addresses */
export async function tryOnce(
  stage: Stage,
  options: TrialOptions,
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
  options: TrialOptions,
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
