/**
 * `npm run -s lab -- cut-stages`: QEMU machines are installed and lose their power on the way, at
 * each named moment from the boot ROM to the last reboot; each must end installed all the same,
 * without anybody's help.
 *
 * Power is cut as mains fail: QEMU is killed, and the server is not told.
 */

import { mkdtempSync, rmSync } from "node:fs";
import type { StoredEvent } from "#protocol/events.ts";
import { maxAttempts } from "../../server/job/task-journal.ts";
import { prepare } from "../demo/prepare.ts";
import { addImages, imageNameFor, learnRack, type Scenario } from "../demo/scenario.ts";
import { readArguments, refuse } from "../usage.ts";
import type { Cleanup } from "./cleanup.ts";
import {
  type CutInstall,
  type CutInstallResult,
  type CuttingLab,
  installWithCuts,
  type Sights,
} from "./cut-install.ts";
import { type CutMoment, cutMoments, dealMoments } from "./cut-moments.ts";
import { openInstallDisk, readInstallImage } from "./install-disk.ts";
import { removeStaleNamespaces } from "./namespaces.ts";
import { wholeNumber } from "./numbers.ts";
import { createRandom } from "./random.ts";
import { createVirtualRack, diskOctets, type LabNode } from "./virtual-rack.ts";
import { watchWorld } from "./world.ts";

export interface CutStagesResult {
  /** How often every moment has had its cut. */
  readonly rounds: number;
  readonly cuts: number;
  readonly installs: number;
  /** Of the installs: those whose disk holds the image and whose system has called. */
  readonly installed: number;
  readonly moments: Readonly<Record<CutMoment, number>>;
  readonly stuck: readonly string[];
}

const firmwares = ["bios", "uefi-x64"] as const;
/** Many emulated machines at once on a busy machine. */
const readyWithinMs = 40 * 60_000;
const mostNodes = 9; // the tens of their slots are one digit

const usage = `
npm run -s lab -- cut-stages: power is cut at every stage of an install, which must end all the same

  --firmware bios   or uefi-x64, whose boot files come by TFTP
  --times 1         how often each moment has its turn
  --each            one cut per install; default: as many as its attempts allow
  --only NAMES      of the moments; there are
                    ${cutMoments.slice(0, 7).join(", ")},
                    ${cutMoments.slice(7).join(", ")}
  --nodes 4         machines at work at the same time, 9 at most
  --minutes N       after which no install begins
  --seed 1
  --json            the result as a line of JSON

Progress is on standard error. Root and QEMU are needed. Exit code 1 when an install did not end
with the image on the disk and its system running.
`;

interface Options {
  readonly firmware: (typeof firmwares)[number];
  readonly times: number;
  readonly installs: readonly (readonly CutMoment[])[];
  readonly nodes: number;
  readonly minutes: number;
  readonly seed: number;
  readonly json: boolean;
}

function readOptions(): Options {
  const { values } = readArguments(usage, {
    allowPositionals: true,
    options: {
      firmware: { type: "string", default: "bios" },
      times: { type: "string", default: "1" },
      each: { type: "boolean", default: false },
      only: { type: "string", default: cutMoments.join(",") },
      nodes: { type: "string", default: "4" },
      minutes: { type: "string", default: String(24 * 60) },
      seed: { type: "string", default: "1" },
      json: { type: "boolean", default: false },
    },
  });
  const firmware = firmwares.find((one) => one === values.firmware);
  if (!firmware) refuse(`--firmware ${values.firmware}: ${firmwares.join(" or ")}`);
  const names = values.only.split(",");
  const unknown = names.find((name) => !cutMoments.some((one) => one === name));
  if (unknown !== undefined) refuse(`--only ${unknown}: there are ${cutMoments.join(", ")}`);
  const wanted = cutMoments.filter((one) => names.includes(one));
  return {
    firmware,
    times: wholeNumber("times", values.times, 1, 1000),
    installs: values.each ? wanted.map((one) => [one]) : dealMoments(wanted, maxAttempts),
    nodes: wholeNumber("nodes", values.nodes, 1, mostNodes),
    minutes: wholeNumber("minutes", values.minutes, 1),
    seed: wholeNumber("seed", values.seed, 0),
    json: values.json,
  };
}

/** @returns the exit code. */
export async function runCutStages(cleanup: Cleanup): Promise<number> {
  const options = readOptions();
  const begun = performance.now();
  const say = (line: string) => {
    const seconds = Math.round((performance.now() - begun) / 1000);
    process.stderr.write(`${String(seconds).padStart(5)} s  ${line}\n`);
  };
  const result = await cutStages(options, cleanup, say);
  const { moments, stuck, ...counts } = result;
  const lines = Object.entries({ ...counts, ...moments });
  const text = lines.map(([name, value]) => `${name.padEnd(16)} ${value}`);
  process.stdout.write(`${options.json ? JSON.stringify(result) : text.join("\n")}\n`);
  for (const one of stuck) say(`stuck: ${one}`);
  return stuck.length === 0 && result.installed === result.installs ? 0 : 1;
}

export async function cutStages(
  options: Options,
  cleanup: Cleanup,
  say: (line: string) => void,
): Promise<CutStagesResult> {
  const directory = mkdtempSync("/var/tmp/marcoboot-cuts-");
  const forget = cleanup.add(directory, () => rmSync(directory, { recursive: true, force: true }));
  const prepared = await prepare([options.firmware], say);
  const name = imageNameFor(options.firmware);
  const file = prepared.images.get(name)?.path;
  if (file === undefined) throw new Error(`no image ${name} was made`);
  const image = readInstallImage(file, directory);
  removeStaleNamespaces();
  const lines = createListeners<[outlet: string, line: string]>();
  const events = createListeners<[stored: StoredEvent]>();
  const sights: Sights = { onLine: lines.add, onEvent: events.add };
  const rack = await createVirtualRack({
    ...prepared,
    firmwares: Array.from({ length: options.nodes }, () => options.firmware),
    directory,
    adminPort: 8000,
    // On a busy machine an emulated timer is late, and its kernel would not believe in it.
    settings: { kernelArguments: ["no_timer_check"] },
    cleanup,
    onLine: lines.tell,
  });
  const world = watchWorld(rack.api);
  const unfollow = rack.api.follow(0, events.tell);
  try {
    const scenario: Scenario = { rack, world, say, atOnce: options.nodes };
    await addImages(scenario, prepared.images);
    await learnRack(scenario);
    const lab: CuttingLab = { rack, world, sights, image: name, say };
    const queue = Array.from({ length: options.times }, () => options.installs).flat();
    const work: Work = { queue, results: [], begun: performance.now() };
    await Promise.all(
      rack.nodes.map(async (node) => {
        await world.until(`${node.hostname} ready`, readyWithinMs, () =>
          world.nodes.get(node.guest.mac)?.state === "ready" ? true : undefined,
        );
        const disk = openInstallDisk(node.guest.disk, diskOctets, image);
        await installInTurn(lab, { node, disk }, work, options);
      }),
    );
    const result = sum(work.results);
    if (result.stuck.length > 0) {
      forget();
      say(`consoles and log are in ${directory}`);
    }
    return result;
  } finally {
    unfollow();
    world.close();
    await rack.close();
  }
}

interface Work {
  readonly queue: (readonly CutMoment[])[];
  readonly results: { readonly node: LabNode; readonly result: CutInstallResult }[];
  readonly begun: number;
}

/** One install after the other, until there is none left or the time is over. */
async function installInTurn(
  lab: CuttingLab,
  { node, disk }: Pick<CutInstall, "node" | "disk">,
  { queue, results, begun }: Work,
  { minutes, seed }: Options,
): Promise<void> {
  for (;;) {
    if (performance.now() - begun > minutes * 60_000) return;
    const left = queue.length;
    const cutAt = queue.shift();
    if (!cutAt) return;
    lab.say(`${node.hostname}: install, to be cut at ${cutAt.join(", ")}; ${left - 1} to come`);
    const random = createRandom(seed * 10_000 + left);
    const result = await installWithCuts(lab, { node, disk, cutAt, random });
    results.push({ node, result });
    lab.say(`${node.hostname}: ${textOf(result)}`);
    if (result.reason === undefined) continue;
    for (const line of lab.rack.strip.tail(node.outlet, 20)) lab.say(`  ${line}`);
  }
}

function textOf({ cuts, attempts, seconds, reason }: CutInstallResult): string {
  const how = `${cuts.length} cuts, ${attempts} attempts, ${seconds} s`;
  return reason === undefined ? `installed: ${how}` : `not as it should be: ${reason} (${how})`;
}

function sum(results: Work["results"]): CutStagesResult {
  const cuts = results.flatMap(({ result }) => result.cuts);
  const counts = cutMoments.map((name) => [name, cuts.filter((one) => one === name).length]);
  return {
    rounds: Math.min(...counts.map(([, count]) => Number(count))),
    cuts: cuts.length,
    installs: results.length,
    installed: results.filter(({ result }) => result.reason === undefined).length,
    moments: Object.fromEntries(counts) as CutStagesResult["moments"],
    stuck: results
      .filter(({ result }) => result.reason !== undefined)
      .map(
        ({ node, result }) => `${node.hostname} after ${result.cuts.join(", ")}: ${result.reason}`,
      ),
  };
}

interface Listeners<Told extends readonly unknown[]> {
  /** @returns takes it back */
  add(listener: (...told: Told) => void): () => void;
  tell(...told: Told): void;
}

function createListeners<Told extends readonly unknown[]>(): Listeners<Told> {
  const all = new Set<(...told: Told) => void>();
  return {
    add(listener) {
      all.add(listener);
      return () => void all.delete(listener);
    },
    tell(...told) {
      for (const listener of [...all]) listener(...told);
    },
  };
}
