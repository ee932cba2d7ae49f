/**
 * Live progress: on a terminal one line per node, redrawn in place below the
 * messages; elsewhere a plain line whenever a node's words change, at most one
 * per quarter of a stage.
 */

import type { Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import type { LabNode } from "../lab/virtual-rack.ts";
import type { World } from "../lab/world.ts";

export interface Progress {
  /** A message that stays. */
  say(line: string): void;
  /** Begins the block of node lines. */
  show(nodes: readonly LabNode[], world: World): void;
  /** Draws what has changed. */
  update(): void;
  close(): void;
}

const redrawMs = 250;
const barWidth = 20;

export function createProgress(output: NodeJS.WriteStream): Progress {
  const started = performance.now();
  const live = output.isTTY === true;
  let nodes: readonly LabNode[] = [];
  let world: World | undefined;
  let drawn = 0;
  let timer: NodeJS.Timeout | undefined;
  const said = new Map<string, string>();

  const stamp = () => `${((performance.now() - started) / 1000).toFixed(0).padStart(5)} s  `;
  const erase = () => {
    if (drawn > 0) output.write(`\x1b[${drawn}A\x1b[J`);
    drawn = 0;
  };
  const draw = () => {
    timer = undefined;
    if (!world) return;
    const width = Math.max(40, output.columns ?? 80);
    const lines = nodes.map((node) => lineOf(node, world, true).slice(0, width - 1));
    erase();
    output.write(lines.map((line) => `${line}\n`).join(""));
    drawn = lines.length;
  };
  const sayChanges = () => {
    for (const node of nodes) {
      const line = lineOf(node, world, false);
      if (said.get(node.outlet) === line) continue;
      said.set(node.outlet, line);
      output.write(`${stamp()}${line}\n`);
    }
  };
  return {
    say(line) {
      erase();
      output.write(`${stamp()}${line}\n`);
      if (live) draw();
    },
    show(shown, watched) {
      nodes = shown;
      world = watched;
    },
    update() {
      if (!live) return sayChanges();
      timer ??= setTimeout(draw, redrawMs);
    },
    close() {
      clearTimeout(timer);
      if (live) draw();
      nodes = [];
      world = undefined;
      drawn = 0;
    },
  };
}

function lineOf(lab: LabNode, world: World | undefined, live: boolean): string {
  const node = world?.nodes.get(lab.guest.mac);
  const name = `${lab.hostname.padEnd(10)} ${lab.guest.firmware.padEnd(14)}`;
  if (!node) return `${name} waiting for power`;
  const task = currentTask(node, world);
  const address = (node.address ?? "").padEnd(11);
  if (!task) return `${name} ${address} ${node.state}, power ${node.power}`;
  return `${name} ${address} ${task.kind} ${wordsOf(task, live)}`;
}

function wordsOf(task: Task, live: boolean): string {
  if (task.state === "failed") return `failed: ${task.reason ?? ""}`;
  if (task.state !== "running") return task.state;
  const stage = task.stage ?? "starting";
  if (!live) {
    const quarter = Math.floor(task.percent / 25) * 25;
    return quarter > 0 && quarter < 100 ? `${stage} ${quarter} %` : stage;
  }
  const filled = Math.round((task.percent / 100) * barWidth);
  const bar = "#".repeat(filled).padEnd(barWidth, ".");
  const rate = task.bytesPerSecond ? `, ${(task.bytesPerSecond / 1e6).toFixed(1)} MB/s` : "";
  return `${stage.padEnd(17)} [${bar}] ${task.percent.toFixed(0)} %${rate}`;
}

/** The running task, else the one made last. */
function currentTask(node: Node, world: World | undefined): Task | undefined {
  const own = [...(world?.tasks.values() ?? [])].filter((task) => task.nodeId === node.id);
  return own.find((task) => task.state === "running") ?? own.at(-1);
}
