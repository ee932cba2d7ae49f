/**
 * `npm run -s lab -- storm`: installs on a simulated rack, again and again, while
 * server, Redis and agents are killed at random.
 *
 * Counted is what nobody may lose: every record that the server has acknowledged or
 * shown, and every effect at a board (power cycle, reset, committed install), which
 * one attempt may have once.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Image } from "#protocol/image.ts";
import { isFinished, type Job, type Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { readArguments, refuse } from "../usage.ts";
import { type Cleanup, endProcess } from "./cleanup.ts";
import { run } from "./command.ts";
import { type AttemptOn, createEffects, type Effects } from "./effects.ts";
import { learn, type Site, startSite } from "./learn.ts";
import { createLedger, type Ledger } from "./ledger.ts";
import { memoryOf } from "./memory.ts";
import { wholeNumber } from "./numbers.ts";
import type { RackBoard } from "./simulated-rack.ts";
import { holdsImage, makeSmallImage, type SmallImage } from "./small-image.ts";

export interface StormOptions {
  readonly nodes: number;
  readonly minutes: number;
  readonly seed: number;
}

export interface StormResult {
  /** Nodes whose disk holds the image and whose installed system has called. */
  readonly installed: number;
  /** Records that were acknowledged and are not there any more. */
  readonly lost: number;
  readonly kills: number;
  /** Of one kind, in one attempt. */
  readonly effectsPerEpochMax: number;
}

const perStack = 4;
const mostNodes = 80; // the laboratory's subnet has 90 reserved addresses

const usage = `
npm run -s lab -- storm: installs while server, Redis and agents are killed at random

  --nodes 48       simulated boards, one outlet each; a multiple of ${perStack}
  --minutes 30     of kills; then everything must come to its end
  --seed 1         who is killed when
  --json           the result as a line of JSON

Progress is on standard error. Root and busybox are needed. Exit code 1 unless all nodes are
installed, no record is lost and no attempt had an effect twice.
`;

/** @returns the exit code. */
export async function runStorm(cleanup: Cleanup): Promise<number> {
  const { values } = readArguments(usage, {
    allowPositionals: true,
    options: {
      nodes: { type: "string", default: "48" },
      minutes: { type: "string", default: "30" },
      seed: { type: "string", default: "1" },
      json: { type: "boolean", default: false },
    },
  });
  const options: StormOptions = {
    nodes: wholeNumber("nodes", values.nodes, 1, mostNodes),
    minutes: positive("minutes", values.minutes),
    seed: wholeNumber("seed", values.seed, 0),
  };
  if (options.nodes % perStack !== 0) {
    refuse(`--nodes ${options.nodes} is no multiple of ${perStack}, the slots of a stack`);
  }
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  const { result, problems } = await storm(options, cleanup, say);
  const text = Object.entries(result).map(([name, value]) => `${name.padEnd(20)} ${value}`);
  process.stdout.write(`${values.json ? JSON.stringify(result) : text.join("\n")}\n`);
  for (const problem of problems) say(problem);
  return problems.length === 0 ? 0 : 1;
}

function positive(name: string, text: string): number {
  const value = Number(text);
  return value > 0 ? value : refuse(`--${name} ${text} is not more than 0`);
}

const slotTimeoutSeconds = 60;
const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
/** Jobs of one round. */
const mostTries = 5;

interface Storm {
  readonly site: Site;
  readonly ledger: Ledger;
  readonly effects: Effects;
  readonly say: (line: string) => void;
}

export async function storm(
  options: StormOptions,
  cleanup: Cleanup,
  say: (line: string) => void,
): Promise<{ readonly result: StormResult; readonly problems: readonly string[] }> {
  const effects = createEffects();
  const site = await startSite(
    {
      stacks: options.nodes / perStack,
      perStack,
      perSlotOutlets: true,
      models: ["pi4", "pi5"],
      faults: {},
      senses: true,
      slotTimeoutSeconds,
      seed: options.seed,
    },
    cleanup,
    say,
    effects.note,
  );
  try {
    await learn(site, { slotTimeoutSeconds, quietSeconds: 3, kills: 0 }, say);
    await untilReady(site, say);
    const storm = { site, effects, say, ledger: createLedger(site.server.api) };
    const { kills, image } = await rage(storm, options);
    say(`${site.rack.boards.length} boards and the server: ${memoryOf(site.namespaces)} MiB`);
    return await verdict(storm, image, kills);
  } finally {
    await site.close();
  }
}

async function untilReady({ server, rack }: Site, say: (line: string) => void): Promise<void> {
  const deadline = performance.now() + 5 * minuteMs;
  for (;;) {
    const { items } = await server.api.get<{ items: readonly Node[] }>("/api/v1/nodes");
    const ready = items.filter(
      ({ state, connection }) => state === "ready" && connection === "online",
    );
    say(`${ready.length} of ${rack.boards.length} nodes are ready`);
    if (ready.length === rack.boards.length) return;
    if (performance.now() > deadline) throw new Error("not all nodes became ready in 5 minutes");
    await sleep(2000);
  }
}

/** Between two kills. */
const between = { from: 2000, to: 12_000 };
const pollMs = 1000;

/** Rounds of installs, each with another image, and kills, until the time is over; then the last round to its end. */
async function rage(
  storm: Storm,
  { minutes }: StormOptions,
): Promise<{ readonly kills: number; readonly image: SmallImage }> {
  const ends = performance.now() + minutes * minuteMs;
  const killer = createKiller(storm, ends);
  for (let round = 1; ; round++) {
    const image = await addImage(storm, round);
    let selector = "all";
    for (let tries = 0; tries < mostTries && selector !== ""; tries++) {
      const job = await install(storm, image, selector);
      const tasks = await untilEnded(storm, job, killer, `round ${round}`);
      // what an admin would do: once more for those that failed
      selector = failedOf(tasks, storm.say).join();
    }
    if (performance.now() >= ends) return { kills: killer.kills, image };
  }
}

/** @throws Error when it takes an hour */
async function untilEnded(
  { ledger, say }: Storm,
  job: Job,
  killer: Killer,
  name: string,
): Promise<readonly Task[]> {
  const deadline = performance.now() + hourMs;
  for (let said = ""; performance.now() < deadline; await sleep(pollMs)) {
    await killer.turn();
    await ledger.check();
    const tasks = ledger.tasksOf(job);
    const lost = ledger.lost.length;
    const line = `${name}: ${countsOf(tasks)}; ${killer.kills} kills, ${lost} records lost`;
    if (line !== said) say(line);
    said = line;
    if (tasks.length > 0 && tasks.every(({ state }) => isFinished(state))) return tasks;
  }
  throw new Error(`${job.kind} job ${job.id} has not ended in an hour`);
}

/** Ids of the nodes that must be tried again. */
function failedOf(tasks: readonly Task[], say: (line: string) => void): readonly string[] {
  const failed = tasks.filter(({ state }) => state !== "done");
  for (const [reason, members] of Map.groupBy(failed, (task) => task.reason)) {
    say(`${members.length} failed: ${reason}`);
  }
  return failed.map(({ nodeId }) => nodeId);
}

async function addImage({ site }: Storm, round: number): Promise<SmallImage> {
  const image = makeSmallImage(site.directory, `round-${round}`);
  const { name } = image;
  const query = new URLSearchParams({
    ...{ name, architecture: "arm64", bootloader: "none", format: "raw" },
  });
  await site.server.api.upload<Image>(`/api/v1/images?${query}`, image.path);
  return image;
}

async function install(storm: Storm, image: SmallImage, selector: string): Promise<Job> {
  const parameters = { image: image.name, authorizedKeys: [] };
  const job = await storm.site.server.api.send<Job>("POST", "/api/v1/jobs", {
    ...{ kind: "install", selector, parameters },
  });
  storm.ledger.acknowledged(job);
  return job;
}

function countsOf(tasks: readonly Task[]): string {
  const counts = Map.groupBy(tasks, ({ state, stage }) =>
    state === "running" ? (stage ?? state) : state,
  );
  return [...counts].map(([name, members]) => `${members.length} ${name}`).join(", ");
}

interface Killer {
  readonly kills: number;
  /** Kills somebody when it is time to, until the end. */
  turn(): Promise<void>;
}

/** The server and its Redis now and then, agents the rest of the time. */
function createKiller({ site, say }: Storm, ends: number): Killer {
  const { random, rack, server, namespaces } = site;
  const next = () => performance.now() + between.from + random.next() * (between.to - between.from);
  let kills = 0;
  let at = next();
  const killOne = async (die: number): Promise<boolean> => {
    if (die < 0.2) {
      say("kill -9 of the server");
      await server.killAndRestart();
      return true;
    }
    if (die < 0.35) {
      const redis = redisIn(`${namespaces}-srv`);
      if (redis !== undefined) say("kill -9 of Redis");
      endProcess(redis);
      return redis !== undefined;
    }
    return rack.boards[Math.floor(random.next() * rack.boards.length)]?.board.killAgent() ?? false;
  };
  return {
    get kills() {
      return kills;
    },
    async turn() {
      const now = performance.now();
      if (now < at || now >= ends) return;
      if (await killOne(random.next())) kills += 1;
      at = next();
    },
  };
}

function redisIn(namespace: string): number | undefined {
  const pids = run("ip", ["netns", "pids", namespace]).split(/\s+/).filter(Boolean);
  return pids.map(Number).find((pid) => nameOf(pid) === "redis-server");
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "latin1").trim();
  } catch {
    return ""; // it has just ended
  }
}

async function verdict(
  { site, ledger, effects }: Storm,
  image: SmallImage,
  kills: number,
): Promise<{ readonly result: StormResult; readonly problems: readonly string[] }> {
  await ledger.check();
  const nodes = ledger.nodes();
  const isInstalled = ({ board }: RackBoard) => {
    const node = nodes.find(({ mac }) => mac === board.mac);
    const hasCalled = node?.state === "installed" && node.agent?.role === "resident";
    return hasCalled && holdsImage(board.disk, image);
  };
  await site.server.stop();
  const counted = effects.counted(attemptsIn(site, nodes));
  const result = {
    installed: site.rack.boards.filter(isInstalled).length,
    lost: ledger.lost.length,
    kills,
    effectsPerEpochMax: Math.max(0, ...counted.map(({ count }) => count)),
  };
  return {
    result,
    problems: [
      ...site.rack.boards
        .filter((one) => !isInstalled(one))
        .map(({ board }) => `${board.mac} is not installed`),
      ...ledger.lost.map((record) => `lost: ${record}`),
      ...counted
        .filter(({ count }) => count > 1)
        .map(({ attempt, what, count }) => `attempt ${attempt}: ${what} ${count} times`),
    ],
  };
}

const mostTasks = 10_000;

/** From the journal of a server that has stopped: when each attempt began and ended. */
function attemptsIn(site: Site, nodes: readonly Node[]): readonly AttemptOn[] {
  const store = openSqliteStore(join(site.directory, "server", "marcoboot.db"));
  try {
    return nodes.flatMap(({ id, mac }) =>
      store.tasks
        .ofNode(id, mostTasks)
        .flatMap((task) => store.attempts.ofTask(task.id).map((one) => ({ ...one, mac }))),
    );
  } finally {
    store.close();
  }
}
