/**
 * `npm run demo`: a virtual rack installs itself.
 *
 * Exit code 0 only when every point held. Namespaces, processes and temporary
 * files are removed in every case.
 */

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { forwardPort } from "./demo/forward.ts";
import type { PlannedSteps } from "./demo/planned.ts";
import { createProgress, type Progress } from "./demo/progress.ts";
import type { NodeSummary, Scenario } from "./demo/scenario.ts";
import { type Cleanup, cleanUpOnSignals, createCleanup } from "./lab/cleanup.ts";
import { removeStaleNamespaces } from "./lab/namespaces.ts";
import { type GuestFirmware, guestFirmwares } from "./lab/qemu.ts";
import type { VirtualRack } from "./lab/virtual-rack.ts";
import { readArguments, refuse } from "./usage.ts";

interface Options {
  readonly firmwares: readonly GuestFirmware[];
  readonly json: boolean;
  readonly keep: boolean;
  readonly update: boolean;
  readonly port: number;
  readonly state: string | undefined;
}

interface Summary extends PlannedSteps {
  readonly ok: boolean;
  readonly nodes: readonly NodeSummary[];
  readonly seconds: number;
  /** What did not hold. */
  readonly reason?: string;
}

const plannedSteps = ["canary", "cancelled", "update", "window"] as const;

const usage = `
npm run demo [-- options]: a virtual rack installs itself

  --nodes bios,uefi-x64,uefi-arm64,raspberry-pi-3   default: the first three
  --no-update     without the rolling update of nodes that share an image
  --json          last line on standard output is the summary as JSON
  --keep          the page is on 127.0.0.1 from the start, and stays until Ctrl-C
  --port 8000     where, with --keep
  --state DIR     disks, logs and state go there and stay; default: a temporary directory
`;

/** Ends the process with 2 on a wrong option. */
function readOptions(): Options {
  const { values } = readArguments(usage, {
    options: {
      nodes: { type: "string", default: "bios,uefi-x64,uefi-arm64" },
      json: { type: "boolean", default: false },
      keep: { type: "boolean", default: false },
      "no-update": { type: "boolean", default: false },
      port: { type: "string", default: "8000" },
      state: { type: "string" },
    },
  });
  const wanted = values.nodes.split(",").map((name) => name.trim());
  const unknown = wanted.find((name) => !guestFirmwares.some((one) => one === name));
  if (unknown !== undefined) {
    refuse(`--nodes ${unknown}: there are ${guestFirmwares.join(", ")}`);
  }
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    refuse(`--port ${values.port} is not 1-65535`);
  }
  return {
    firmwares: guestFirmwares.filter((one) => wanted.includes(one)),
    json: values.json,
    keep: values.keep,
    update: !values["no-update"],
    port,
    state: values.state === undefined ? undefined : resolve(values.state),
  };
}

/** Why no laboratory can run here, with the remedy; undefined when it can. */
function obstacle(): string | undefined {
  if (process.getuid?.() !== 0) {
    return "the demonstration makes network namespaces and taps: run it as root (sudo npm run demo)";
  }
  return undefined;
}

/** What lives as long as the process. */
interface Lab {
  readonly cleanup: Cleanup;
  readonly progress: Progress;
  /** From then on a signal does not end the process by itself. */
  readonly releaseSignals: () => void;
}

async function run(options: Options, lab: Lab): Promise<Summary> {
  const { cleanup, progress } = lab;
  const started = performance.now();
  const seconds = () => Math.round((performance.now() - started) / 1000);
  const say = progress.say;
  const directory = stateDirectory(options.state, cleanup);
  let rack: VirtualRack | undefined;
  try {
    // Loaded late: what they stand on may be installed by the step before.
    const { prepare } = await import("./demo/prepare.ts");
    const prepared = await prepare(options.firmwares, say);
    const { addImages, learnRack } = await import("./demo/scenario.ts");
    const { addSettings, demoCommands, secondVersion } = await import("./demo/planned.ts");
    const { withSecondVersions } = await import("./demo/versions.ts");
    const { workOnRack } = await import("./demo/work.ts");
    const { createVirtualRack } = await import("./lab/virtual-rack.ts");
    const { watchWorld } = await import("./lab/world.ts");

    removeStaleNamespaces();
    say(`rack: ${options.firmwares.join(", ")}, disks empty; logs in ${directory}`);
    rack = await createVirtualRack({
      ...prepared,
      firmwares: options.firmwares,
      directory,
      adminPort: 8000,
      settings: { commands: demoCommands },
      cleanup,
    });
    const world = watchWorld(rack.api, () => progress.update());
    cleanup.add("event stream", () => world.close());
    progress.show(rack.nodes, world);
    if (options.keep) await openPage(options.port, rack, cleanup, say);
    const scenario: Scenario = { rack, world, say, atOnce: Math.max(1, availableParallelism()) };
    const { images, trees } = prepared;
    await addImages(
      scenario,
      options.update
        ? await withSecondVersions(images, trees, options.firmwares, secondVersion)
        : images,
    );
    await addSettings(scenario);
    await learnRack(scenario);
    const { nodes, steps } = await workOnRack(scenario, options.update);
    progress.close();
    say(`every point held: ${nodes.length} nodes installed, restarted and shut down`);
    for (const missing of plannedSteps.filter((step) => steps[step] === undefined)) {
      const isOff = missing === "update" && !options.update;
      const why = isOff ? "--no-update" : "it wants two nodes of one image (bios and uefi-x64)";
      say(`not shown: ${missing} (${why})`);
    }
    const summary: Summary = { ok: true, nodes, ...steps, seconds: seconds() };
    if (options.keep) {
      lab.releaseSignals();
      await keepUp(options.port, rack, summary.seconds, say);
    }
    return summary;
  } catch (error) {
    progress.close();
    const reason = error instanceof Error ? error.message : String(error);
    say(`failed: ${reason}`);
    const { remedy } = error as { remedy?: string };
    if (remedy !== undefined) say(`hint: ${remedy}`);
    if (rack) printConsole(error, rack, say);
    return { ok: false, nodes: [], seconds: seconds(), reason };
  } finally {
    await rack?.close();
  }
}

function stateDirectory(given: string | undefined, cleanup: Cleanup): string {
  if (given !== undefined) {
    mkdirSync(given, { recursive: true });
    return given;
  }
  const directory = mkdtempSync("/var/tmp/marcoboot-demo-");
  cleanup.add(directory, () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function openPage(
  port: number,
  rack: VirtualRack,
  cleanup: Cleanup,
  say: (line: string) => void,
): Promise<void> {
  const page = await forwardPort(port, rack.adminSocket);
  cleanup.add(`port ${port}`, () => page.close());
  say(`page: http://127.0.0.1:${port}/  user ${rack.admin.name}  password ${rack.admin.password}`);
}

/** Resolves at Ctrl-C or SIGTERM. */
async function keepUp(
  port: number,
  rack: VirtualRack,
  seconds: number,
  say: (line: string) => void,
): Promise<void> {
  say(
    `done in ${seconds} s; http://127.0.0.1:${port}/ stays, as ${rack.admin.name}; Ctrl-C ends it`,
  );
  await new Promise<void>((resolve) => {
    const hold = setInterval(() => undefined, 2 ** 30); // signals alone do not keep a process alive
    const end = () => {
      clearInterval(hold);
      resolve();
    };
    process.once("SIGINT", end);
    process.once("SIGTERM", end);
  });
}

/** The last lines of the console that tells why; of every console when nobody can say which. */
function printConsole(error: unknown, rack: VirtualRack, say: (line: string) => void): void {
  const named = (error as { outlet?: string }).outlet;
  for (const { outlet, hostname } of rack.nodes) {
    if (named !== undefined && named !== outlet) continue;
    say(`last lines of the console of ${hostname} (${outlet}):`);
    for (const line of rack.strip.tail(outlet, 40)) process.stderr.write(`    ${line}\n`);
  }
}

async function main(): Promise<number> {
  const options = readOptions();
  const inTheWay = obstacle();
  if (inTheWay !== undefined) {
    process.stderr.write(`error: ${inTheWay}\n`);
    return 1;
  }
  const cleanup = createCleanup();
  const progress = createProgress(process.stderr);
  const releaseSignals = cleanUpOnSignals(cleanup, () =>
    process.stderr.write("\nstopping: removing what was made\n"),
  );
  const summary = await run(options, { cleanup, progress, releaseSignals });
  cleanup.run();
  if (options.json) process.stdout.write(`${JSON.stringify(summary)}\n`);
  return summary.ok ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
