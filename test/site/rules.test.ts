/**
 * A rack of simulated boards is learned and installs itself by rules: the agent, its enrolment and
 * the server are the real ones, the disks are files.
 */

import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import type { Image } from "#protocol/image.ts";
import type { Job } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import type { Rule } from "#protocol/rule.ts";
import { createCleanup } from "../../scripts/lab/cleanup.ts";
import { learn, startSite } from "../../scripts/lab/learn.ts";
import type { RackBoard } from "../../scripts/lab/simulated-rack.ts";
import { holdsImage, makeSmallImage } from "../../scripts/lab/small-image.ts";
import { watchWorld } from "../../scripts/lab/world.ts";

const slotTimeoutSeconds = 60;
const minuteMs = 60_000;

/** Slots 1 and 2 are installed, 4 is tested first, 3 is nobody's. */
const rules: readonly Rule[] = [
  { name: "tested", match: { places: ["sim/a/4"] }, image: "small", burnInSeconds: 10 },
  {
    name: "usual",
    match: { places: ["sim/a/1", "sim/a/2"], architecture: "arm64" },
    image: "small",
  },
];

/** A rack of one stack, without power, whose server has the image and the rules. */
async function startRack(t: ExecutionContext, perSlotOutlets: boolean, wanted: readonly Rule[]) {
  t.timeout(10 * minuteMs);
  const cleanup = createCleanup((line) => t.log(line));
  t.teardown(() => cleanup.run());
  const say = (line: string) => t.log(line);
  const site = await startSite(
    {
      ...{ stacks: 1, perStack: 4, perSlotOutlets, senses: true, seed: 1 },
      ...{ models: ["pi4"], faults: {}, slotTimeoutSeconds },
    },
    cleanup,
    say,
  );
  const { server, rack } = site;
  const image = makeSmallImage(site.directory, "small");
  const query = "name=small&architecture=arm64&bootloader=none&format=raw";
  await server.api.upload<Image>(`/api/v1/images?${query}`, image.path);
  for (const rule of wanted) await server.api.send("POST", "/api/v1/rules", { rule });
  const board = (slot: string): RackBoard["board"] =>
    rack.boards.find(({ place }) => place?.slot === slot)?.board ?? fail(`slot ${slot}`);
  const learned = async () => {
    await learn(site, { slotTimeoutSeconds, quietSeconds: 3, kills: 0 }, say);
    const world = watchWorld(server.api);
    cleanup.add("event stream", () => world.close());
    return world;
  };
  return { site, server, image, board, learned };
}

test("boards install themselves by rules, once, though the server is killed; somebody's data is left alone", async (t) => {
  const { site, server, image, board, learned } = await startRack(t, true, rules);
  writeNtfs(board("2").disk);
  const foreign = readFileSync(board("2").disk);
  const world = await learned();
  const node = (slot: string): Node | undefined => world.nodes.get(board(slot).mac);
  await world.until("the burn-in runs", 2 * minuteMs, () =>
    [...world.tasks.values()].find(({ stage }) => stage === "testing"),
  );
  await server.killAndRestart();
  for (const slot of ["1", "4"]) {
    await world.until(`slot ${slot} installed`, 5 * minuteMs, () =>
      node(slot)?.state === "installed" ? true : undefined,
    );
    t.true(holdsImage(board(slot).disk, image), `slot ${slot}`);
  }

  t.is(node("1")?.rule?.text, "rule usual installs small on disk-file");
  t.like(node("4"), { rule: { text: "rule tested installs small on disk-file" } });
  t.deepEqual(
    node("4")?.burnIn?.results.map(({ part, passed }) => `${part} ${passed}`),
    ["memory true", "cpu true", "disk disk-file true"],
  );
  t.like(node("2"), {
    state: "ready",
    rule: {
      text: "rule usual matches, but nothing is installed: disk disk-file holds NTFS on the whole disk, which was not installed from here",
    },
  });
  t.like(node("3"), { state: "ready", rule: { text: "no rule matches: it is left alone" } });
  t.true(readFileSync(board("2").disk).equals(foreign));
  t.true(readFileSync(board("3").disk).every((octet) => octet === 0));
  const { items: jobs } = await server.api.get<{ items: readonly Job[] }>("/api/v1/jobs");
  t.deepEqual(
    jobs.map(({ kind, state, createdBy }) => `${kind} ${state} by ${createdBy}`).toSorted(),
    ["burn-in done by rule:tested", "install done by rule:tested", "install done by rule:usual"],
  );
  await site.close();
});

test("boards whose slots were guessed by the order heard wait until somebody confirms them", async (t) => {
  const all: Rule = { name: "all", match: {}, image: "small" };
  const { site, server, learned } = await startRack(t, false, [all]);
  const world = await learned();
  const placed = () => [...world.nodes.values()].filter(({ slot }) => slot !== undefined);
  // Until its next call a node is told what it waited for while its rack was being learned.
  await world.until("all wait", 3 * minuteMs, () => {
    const waiting = placed().filter(
      ({ state, rule }) =>
        state === "enrolled" && rule?.text === "rule all waits: its slot is not confirmed",
    );
    return waiting.length === 4 ? true : undefined;
  });
  t.deepEqual([...world.jobs.values()], []);
  await server.api.send("POST", "/api/v1/learnings/current/confirm", { targets: ["a"] });
  await world.until("all are installed", 5 * minuteMs, () => {
    return placed().every(({ state }) => state === "installed") ? true : undefined;
  });
  t.is(world.jobs.size, 4);
  await site.close();
});

/** As the first sector of such a volume begins. */
function writeNtfs(path: string): void {
  const file = openSync(path, "r+");
  writeSync(file, Buffer.from("\xeb\x52\x90NTFS    ", "latin1"), 0, 11, 0);
  closeSync(file);
}

function fail(what: string): never {
  throw new Error(`there is no board in ${what}`);
}
