/** One install of a node that loses its power on the way, at each of some moments in turn. */

import { setTimeout as sleep } from "node:timers/promises";
import type { StoredEvent } from "#protocol/events.ts";
import { isFinished, type Job, type Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { type CutMoment, moments } from "./cut-moments.ts";
import type { InstallDisk } from "./install-disk.ts";
import type { Random } from "./random.ts";
import type { LabNode, VirtualRack } from "./virtual-rack.ts";
import type { World } from "./world.ts";

/** What happens to a node, as soon as it is seen. */
export interface Sights {
  onLine(listener: (outlet: string, line: string) => void): () => void;
  onEvent(listener: (stored: StoredEvent) => void): () => void;
}

export interface CuttingLab {
  readonly rack: VirtualRack;
  readonly world: World;
  readonly sights: Sights;
  readonly image: string;
  readonly say: (line: string) => void;
}

export interface CutInstall {
  readonly node: LabNode;
  readonly disk: InstallDisk;
  readonly cutAt: readonly CutMoment[];
  readonly random: Random;
}

export interface CutInstallResult {
  readonly cuts: readonly CutMoment[];
  readonly attempts: number;
  readonly seconds: number;
  /** Why it did not end as it should; undefined: it did. */
  readonly reason?: string;
}

const minute = 60_000;
const limits = { powerOff: 5 * minute, install: 75 * minute } as const;
/** Mains are away for so long, at least and at most. */
const awayMs = [1000, 5000] as const;
/**
 * Of the cuts that cost an attempt: how often mains come back by themselves. Otherwise the outlet
 * stays off until the server, which was not told, switches it on.
 */
const backByItself = 1 / 4;
const lookEveryMs = 20;

/** The node is switched off, has another machine's disk, and gets its order then. */
export async function installWithCuts(
  lab: CuttingLab,
  install: CutInstall,
): Promise<CutInstallResult> {
  const { rack, world, say } = lab;
  const { node, disk } = install;
  const begun = performance.now();
  const cuts: CutMoment[] = [];
  let job: Job | undefined;
  try {
    await switchOff(lab, node);
    disk.becomeForeign();
    const over = new AbortController();
    const following = cutInTurn(lab, install, over.signal, (moment) => {
      cuts.push(moment);
      const attempt = (job && taskOf(world, job)?.epoch) ?? 1;
      say(`${node.hostname}: power cut at ${moment}, attempt ${attempt}`);
    });
    try {
      job = await order(lab, node, "install", { image: lab.image, authorizedKeys: [] });
      await ended(lab, job, limits.install);
    } finally {
      over.abort();
      await following;
    }
    const task = taskOf(world, job);
    const reason =
      whyNotInstalled(lab, install, task) ??
      whyNotCut(install.cutAt, cuts) ??
      (await whyNotOnDisk(lab, install));
    return { cuts, ...measured(begun, task), ...(reason !== undefined && { reason }) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (job) await rack.api.send("POST", `/api/v1/jobs/${job.id}/cancel`).catch(() => undefined);
    return { cuts, ...measured(begun, job && taskOf(world, job)), reason };
  }
}

function measured(begun: number, task: Task | undefined) {
  return { attempts: task?.epoch ?? 0, seconds: Math.round((performance.now() - begun) / 1000) };
}

/** Returns when all moments have been reached, or `signal` aborts. */
async function cutInTurn(
  lab: CuttingLab,
  { node, disk, cutAt, random }: CutInstall,
  signal: AbortSignal,
  onCut: (moment: CutMoment) => void,
): Promise<void> {
  const { strip } = lab.rack;
  let since = Date.now();
  for (const name of cutAt) {
    const { withinMs, costsAttempt } = moments[name];
    if (!(await reached(lab, { node, disk, name, since }, signal))) return;
    await sleep(random.next() * withinMs);
    if (signal.aborted) return;
    await strip.cutPower(node.outlet);
    onCut(name);
    since = Date.now() + awayMs[0] / 2; // what the server tells later is of the next boot
    await sleep(awayMs[0] + random.next() * (awayMs[1] - awayMs[0]));
    if (!costsAttempt || name === "final-message" || random.next() < backByItself) {
      strip.givePower(node.outlet);
    }
  }
}

/** @returns false when the install was over before */
function reached(
  { sights }: CuttingLab,
  {
    node,
    disk,
    name,
    since,
  }: {
    readonly node: LabNode;
    readonly disk: InstallDisk;
    readonly name: CutMoment;
    readonly since: number;
  },
  signal: AbortSignal,
): Promise<boolean> {
  const moment = moments[name];
  return new Promise((resolve) => {
    const undo: (() => void)[] = [];
    const end = (isReached: boolean) => {
      for (const one of undo) one();
      resolve(isReached);
    };
    const give = () => end(false);
    signal.addEventListener("abort", give, { once: true });
    undo.push(() => signal.removeEventListener("abort", give));
    if (signal.aborted) return end(false);
    if ("console" in moment) {
      undo.push(
        sights.onLine((outlet, line) => {
          if (outlet === node.outlet && moment.console.test(line)) end(true);
        }),
      );
    } else if ("event" in moment) {
      undo.push(
        sights.onEvent(({ at, event }) => {
          if (at >= since && moment.event(event, node.guest.mac)) end(true);
        }),
      );
    } else {
      const timer = setInterval(() => moment.disk(disk) && end(true), lookEveryMs);
      undo.push(() => clearInterval(timer));
    }
  });
}

/** The server knows of it: it shall not wait for the node's system. */
async function switchOff(lab: CuttingLab, node: LabNode): Promise<void> {
  await ended(lab, await order(lab, node, "power-off", { force: true }), limits.powerOff);
}

function order(
  { rack, world }: CuttingLab,
  { guest, hostname }: LabNode,
  kind: Job["kind"],
  parameters: object,
): Promise<Job> {
  const known = world.nodes.get(guest.mac);
  if (!known) throw new Error(`the server knows no ${hostname}`);
  return rack.api.send<Job>("POST", "/api/v1/jobs", { kind, selector: known.id, parameters });
}

/** @throws Error when a job other than an install did not end well, or when it takes too long */
async function ended({ world }: CuttingLab, job: Job, withinMs: number): Promise<void> {
  const state = await world.until(`${job.kind} job ${job.id}`, withinMs, () => {
    const now = world.jobs.get(job.id)?.state;
    return now !== undefined && isFinished(now) ? now : undefined;
  });
  if (state === "done" || job.kind === "install") return;
  throw new Error(`${job.kind} ${state}: ${taskOf(world, job)?.reason ?? ""}`);
}

function taskOf(world: World, job: Job): Task | undefined {
  return [...world.tasks.values()].find(({ jobId }) => jobId === job.id);
}

function whyNotInstalled(
  { world }: CuttingLab,
  { node: { guest, hostname } }: CutInstall,
  task: Task | undefined,
): string | undefined {
  if (task?.state !== "done") return `install ${task?.state}: ${task?.reason ?? ""}`;
  const node: Node | undefined = world.nodes.get(guest.mac);
  const { role, hostname: named } = node?.agent ?? {};
  if (node?.state === "installed" && role === "resident" && named === hostname) return undefined;
  return `it is ${node?.state}, its ${role} agent calls it ${named}`;
}

function whyNotCut(wanted: readonly CutMoment[], cuts: readonly CutMoment[]): string | undefined {
  const missing = wanted.slice(cuts.length);
  return missing.length === 0 ? undefined : `it ended without ${missing.join(", ")}`;
}

async function whyNotOnDisk(
  lab: CuttingLab,
  { node, disk }: CutInstall,
): Promise<string | undefined> {
  await switchOff(lab, node);
  return disk.differsFromImage();
}
