/**
 * `npm run -s lab -- learn`: a simulated rack with faults is learned by a real
 * server, and what it found out is compared with the truth.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readArguments, refuse } from "../usage.ts";
import { patiently } from "./api.ts";
import { modelNames } from "./board-models.ts";
import { makeBootTree } from "./boot-servers.ts";
import { type Cleanup, createCleanup } from "./cleanup.ts";
import { type LabServer, startLabServer } from "./lab-server.ts";
import { type Findings, judge, type LearnResult, type Verdict } from "./learn-verdict.ts";
import { memoryOf } from "./memory.ts";
import { createNetwork, removeStaleNamespaces } from "./namespaces.ts";
import { wholeNumber } from "./numbers.ts";
import { createRandom, type Random } from "./random.ts";
import type { ServerOptions } from "./server-process.ts";
import {
  type Faults,
  mostPerStack,
  mostStacks,
  type RackOptions,
  type SimulatedRack,
  startSimulatedRack,
} from "./simulated-rack.ts";

export interface LearnOptions
  extends Pick<
    RackOptions,
    | "stacks"
    | "perStack"
    | "perSlotOutlets"
    | "hasPorts"
    | "models"
    | "faults"
    | "senses"
    | "slotTimeoutSeconds"
    | "diskOctets"
  > {
  readonly quietSeconds: number;
  /** Times the server is killed while it learns. */
  readonly kills: number;
  readonly seed: number;
}

const faultNames = [
  "late",
  "dead",
  "foreign",
  "stuck",
  "stuck-off",
  "inverted",
  "bouncing",
] as const;

const usage = `
npm run -s lab -- learn: a rack of simulated boards is learned by a real server

  --stacks 12 --per-stack 4    at most ${mostStacks} and ${mostPerStack}
  --per-slot-outlets     every slot has an outlet; default: one for each stack
  --late N               boards that need longer for their first word than a slot gets
  --dead N               that never say one
  --foreign N            on the switch, but on no outlet of the rack
  --stuck N              outlets that stay on; also --stuck-off, --inverted, --bouncing
  --blind                outlets do not sense: asked, they say what they were ordered
  --models pi4,pi3,pi5,bios   slot after slot in turn; also edk2
  --slot-timeout 15      seconds a slot gets to be heard
  --quiet 12             seconds of listening with everything off
  --kill N               kill -9 of the server so often, while it learns
  --runs 1               with seeds that count up
  --seed 1               what is wrong with which board
  --json                 a line of JSON for each run

Progress is on standard error. Root and busybox are needed. Exit code 1 when a board was placed
wrongly, one that can be placed was not, or a fault was not flagged with its true reason.
`;

function readOptions(): { options: LearnOptions; runs: number; json: boolean } {
  const count = { type: "string", default: "0" } as const;
  const { values } = readArguments(usage, {
    allowPositionals: true,
    options: {
      stacks: { type: "string", default: "12" },
      "per-stack": { type: "string", default: "4" },
      "per-slot-outlets": { type: "boolean", default: false },
      ...{ late: count, dead: count, foreign: count, stuck: count, "stuck-off": count },
      ...{ inverted: count, bouncing: count, kill: count },
      blind: { type: "boolean", default: false },
      models: { type: "string", default: "pi4,pi3,pi5,bios" },
      "slot-timeout": { type: "string", default: "15" },
      quiet: { type: "string", default: "12" },
      runs: { type: "string", default: "1" },
      seed: { type: "string", default: "1" },
      json: { type: "boolean", default: false },
    },
  });
  const faults = Object.fromEntries(
    faultNames.map((name) => [
      name === "stuck" ? "stuck-on" : name,
      wholeNumber(name, values[name], 0),
    ]),
  ) as Faults;
  return {
    options: {
      stacks: wholeNumber("stacks", values.stacks, 1, mostStacks),
      perStack: wholeNumber("per-stack", values["per-stack"], 1, mostPerStack),
      perSlotOutlets: values["per-slot-outlets"],
      models: values.models.split(",").map((word) => {
        const found = modelNames.find((one) => one === word.trim());
        return found ?? refuse(`--models ${word}: there are ${modelNames.join(", ")}`);
      }),
      faults,
      senses: !values.blind,
      slotTimeoutSeconds: wholeNumber("slot-timeout", values["slot-timeout"], 1),
      quietSeconds: wholeNumber("quiet", values.quiet, 1),
      kills: wholeNumber("kill", values.kill, 0),
      seed: wholeNumber("seed", values.seed, 0),
    },
    runs: wholeNumber("runs", values.runs, 1),
    json: values.json,
  };
}

/** @returns the exit code. */
export async function runLearn(cleanup: Cleanup): Promise<number> {
  const { options, runs, json } = readOptions();
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  let wrong = 0;
  for (let run = 0; run < runs; run++) {
    const seed = options.seed + run;
    const own = createCleanup();
    const forget = cleanup.add(`run with seed ${seed}`, () => own.run());
    try {
      const { result, problems } = await learnOnce({ ...options, seed }, own, say);
      process.stdout.write(json ? `${JSON.stringify(result)}\n` : textOf(result));
      for (const problem of problems) say(`seed ${seed}: ${problem}`);
      if (problems.length > 0) wrong += 1;
    } finally {
      own.run();
      forget();
    }
  }
  if (runs > 1) say(`${runs - wrong} of ${runs} runs as they must be`);
  return wrong === 0 ? 0 : 1;
}

function textOf({ boards, right, wrong, flagged, seconds }: LearnResult): string {
  const flags = flagged.map(
    ({ reason, stack, mac }) => `  ${reason} ${stack ?? ""} ${mac ?? ""}\n`,
  );
  return `${boards} boards: ${right} right, ${wrong} wrong, in ${seconds} s\n${flags.join("")}`;
}

/** A rack, a server, one learning; everything is gone again when `cleanup` has run. */
export async function learnOnce(
  options: LearnOptions,
  cleanup: Cleanup,
  say: (line: string) => void,
): Promise<Verdict> {
  const site = await startSite(options, cleanup, say);
  try {
    const began = performance.now();
    const findings = await learn(site, options, say);
    const seconds = Math.round((performance.now() - began) / 100) / 10;
    say(`${site.rack.boards.length} boards and the server: ${memoryOf(site.namespaces)} MiB`);
    return judge(site.rack.boards, findings, options, seconds);
  } finally {
    await site.close();
  }
}

export interface Site {
  readonly rack: SimulatedRack;
  readonly server: LabServer;
  readonly random: Random;
  /** Begin with this. */
  readonly namespaces: string;
  readonly directory: string;
  close(): Promise<void>;
}

/** No file that firmware fetches is larger: what boots cost is measured elsewhere. */
const mostBootBytes = 65_536;

/** A server that knows the rack's file, and the rack without power. */
export async function startSite(
  options: Omit<LearnOptions, "quietSeconds" | "kills">,
  cleanup: Cleanup,
  say: (line: string) => void,
  onMoment?: RackOptions["onMoment"],
  given: Pick<ServerOptions, "programs" | "settings"> = {},
): Promise<Site> {
  removeStaleNamespaces();
  const directory = mkdtempSync("/var/tmp/marcoboot-sim-");
  cleanup.add(directory, () => rmSync(directory, { recursive: true, force: true }));
  const network = createNetwork("10.77.0.1/24", cleanup);
  const tree = makeBootTree(join(directory, "tree"), mostBootBytes, mostBootBytes);
  const random = createRandom(options.seed);
  const server = await startLabServer({
    ...{ network, directory, cleanup },
    netinstDirectory: tree.netinst,
    loadersDirectory: tree.loaders,
    adminPort: 8000,
    ...given,
  });
  say(`${options.stacks} stacks of ${options.perStack} boards`);
  const rack = await startSimulatedRack({
    ...options,
    ...{ network, cleanup, random },
    directory: join(directory, "rack"),
    ...(onMoment && { onMoment }),
  });
  await server.api.send("PUT", `/api/v1/racks/${rack.name}`, rack.file);
  return {
    ...{ rack, server, random, directory, namespaces: network.prefix },
    async close() {
      await Promise.all([rack.close(), server.stop()]);
    },
  };
}

const pollMs = 500;
/** After a start of the server: while it switches off, listens, and learns the first stacks. */
const killWithinMs = 25_000;

/** Learns to the end, over the deaths of the server, and reads what it found out. */
export async function learn(
  { rack, server, random }: Site,
  options: Pick<LearnOptions, "slotTimeoutSeconds" | "quietSeconds" | "kills">,
  say: (line: string) => void,
): Promise<Findings> {
  const { api } = server;
  const { slotTimeoutSeconds, quietSeconds } = options;
  const begin = () =>
    api.send("POST", "/api/v1/learnings", { rack: rack.name, slotTimeoutSeconds, quietSeconds });
  let said = "";
  await begin();
  let kills = options.kills;
  let killAt = performance.now() + random.next() * killWithinMs;
  for (;;) {
    if (kills > 0 && performance.now() >= killAt) {
      say("kill -9 of the server");
      await server.killAndRestart();
      kills -= 1;
      killAt = performance.now() + random.next() * killWithinMs;
    }
    const status = await patiently(() => api.get<Findings["status"]>("/api/v1/learnings/current"));
    const heard = status.slots.filter(({ state }) => state === "heard").length;
    const line = `learning ${status.state}: ${heard} of ${status.slots.length} slots heard`;
    if (line !== said) say(line);
    said = line;
    if (status.state !== "running") {
      const { items } = await api.get<{ items: Findings["nodes"] }>("/api/v1/nodes");
      return { status, nodes: items };
    }
    await sleep(pollMs);
  }
}
