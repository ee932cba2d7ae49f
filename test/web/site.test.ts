import test from "ava";
import { instant, parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import type { Task } from "#protocol/job.ts";
import { faceOf, overall } from "../../web/state/face.ts";
import { createSelection, obstacle, selectorOf, wordToType } from "../../web/state/selection.ts";
import { createSite, type Site } from "../../web/state/site.ts";
import { makeNode, rack, start } from "../http/support.ts";

function loaded(): Site {
  const site = createSite();
  site.load({
    lastEventId: 10,
    now: start,
    racks: [rack],
    nodes: [makeNode("a", "1"), makeNode("a", "2")],
    jobs: [],
    tasks: [],
    images: [],
  });
  return site;
}

let nextId = 11;
function happen(site: Site, event: DomainEvent, id = nextId++): void {
  site.apply({ id, at: instant(start), event });
}

const task = {
  id: "task_1",
  jobId: "job_1",
  nodeId: "node_a1",
  kind: "install",
  state: "running",
  epoch: 1,
  stage: "writing",
  percent: 50,
  stageSeconds: {},
  createdAt: start,
} as unknown as Task; // its ids are plain text here

function faceAt(site: Site, slot: number) {
  const [stack] = rack.stacks;
  const tile = stack && site.tilesOf(rack, stack)[slot];
  return tile && faceOf(tile);
}

test("a slot shows its node, an empty one the host name it will give", (t) => {
  const site = loaded();
  const [stack] = rack.stacks;
  const tiles = stack ? site.tilesOf(rack, stack) : [];
  t.deepEqual(
    tiles.map((tile) => [tile.name, tile.node !== undefined]),
    [
      ["lab-a-1", true],
      ["lab-a-2", true],
      ["lab-a-3", false],
      ["lab-a-4", false],
    ],
  );
});

test("a node whose key waits for an approval shows it, until its agent is there", (t) => {
  const site = loaded();
  const ask = { code: "4F2K-9QX1", address: parseIpv4Address("10.77.0.17"), at: start };
  const node = { ...makeNode("a", "2", "discovered"), asks: [ask] };
  happen(site, { topic: "node", node: { ...node, connection: "offline" } });
  t.like(faceAt(site, 1), { look: "held", label: "asks to enrol" });
  happen(site, { topic: "node", node });
  t.is(faceAt(site, 1)?.look, "discovered");
});

test("an event changes the one node it names", (t) => {
  const site = loaded();
  happen(site, { topic: "node", node: makeNode("a", "2", "installed") });
  t.is(faceAt(site, 0)?.look, "ready");
  t.is(faceAt(site, 1)?.look, "installed");
});

test("an event that was seen already is not applied again", (t) => {
  const site = loaded();
  happen(site, { topic: "node", node: makeNode("a", "1", "failed") }, 10);
  t.is(faceAt(site, 0)?.look, "ready");
});

test("a running task is shown on its node until it ends", (t) => {
  const site = loaded();
  happen(site, { topic: "task", task });
  t.deepEqual(faceAt(site, 0), {
    look: "working",
    label: "writing 50 %",
    percent: 43,
    agent: "online",
  });
  happen(site, { topic: "task", task: { ...task, state: "done" } });
  t.is(faceAt(site, 0)?.look, "ready");
});

test("a node of no slot is listed apart", (t) => {
  const site = loaded();
  const { slot: _slot, ...node } = makeNode("b", "1", "discovered");
  happen(site, { topic: "node", node });
  t.deepEqual(
    site.unplaced.value.map((one) => String(one.id)),
    ["node_b1"],
  );
});

test("what happened is told in words, newest first, alarms marked", (t) => {
  const site = loaded();
  const mac = parseMacAddress("52:54:00:00:00:01");
  happen(site, { topic: "heard", mac, firmware: "bios-pxe" });
  happen(site, { topic: "enrolment", mac, outcome: "refused", reason: "token used before" });
  t.deepEqual(
    site.activity.value.map(({ text, isAlarm }) => [text, isAlarm]),
    [
      ["52:54:00:00:00:01 enrolment refused: token used before", true],
      ["52:54:00:00:00:01 asks for an address (bios-pxe)", false],
    ],
  );
});

test("lines of a log are gathered by task", (t) => {
  const site = loaded();
  const log = (line: string): DomainEvent => ({
    topic: "task-log",
    taskId: "task_1",
    nodeId: makeNode("a", "1").id,
    lines: [line],
  });
  happen(site, log("one"));
  happen(site, log("two"));
  t.deepEqual(site.logs.value.get("task_1"), ["one", "two"]);
});

const progress = [
  ["begins at nothing", "waiting-for-agent", 0, 0],
  ["never runs backwards between stages", "verifying", 0, 62],
  ["ends full", "first-boot", 100, 100],
  ["ignores a percent out of range", "writing", 900, 62],
] as const;
for (const [title, stage, percent, expected] of progress) {
  test(`the ring ${title}`, (t) => t.is(overall({ ...task, stage, percent }), expected));
}

test("choosing a stack twice leaves the others chosen", (t) => {
  const selection = createSelection();
  selection.only("node_c1");
  selection.group(["node_a1", "node_a2"]);
  t.is(selection.ids.value.size, 3);
  selection.group(["node_a1", "node_a2"]);
  t.deepEqual([...selection.ids.value], ["node_c1"]);
});

test("an install of many wants the rack's name, of one the node's", (t) => {
  const nodes = [makeNode("a", "1"), makeNode("a", "2")];
  t.is(wordToType(nodes), "lab");
  t.is(wordToType(nodes.slice(0, 1)), "lab-a-1");
  t.is(selectorOf(nodes), "node_a1,node_a2");
});

const obstacles = [
  ["an install without image", "install", makeNode("a", "1"), 0, /no image/],
  ["an install of a node not enrolled", "install", makeNode("a", "1", "discovered"), 1, /enrolled/],
  [
    "a reboot of a silent node",
    "reboot",
    { ...makeNode("a", "1"), connection: "offline" },
    1,
    /offline/,
  ],
  [
    "anything with a held node",
    "reboot",
    { ...makeNode("a", "1"), quarantined: true },
    1,
    /approve/,
  ],
  [
    "installing a protected node",
    "install",
    { ...makeNode("a", "1"), protection: { reason: "archive", by: "ada", at: instant(0) } },
    1,
    /^lab-a-1 is protected$/,
  ],
  [
    "an update of a node with one root",
    "update",
    makeNode("a", "1"),
    1,
    /no root slots.*root-size/,
  ],
] as const;
test("an image is made of one node only, of any that is online", (t) => {
  const nodes = [makeNode("a", "1"), makeNode("a", "2")];
  t.is(obstacle("capture", nodes, 0), "an image is made of one node");
  t.is(obstacle("capture", nodes.slice(0, 1), 0), undefined);
});

for (const [title, kind, node, images, reason] of obstacles) {
  test(`${title} is refused with its reason`, (t) => {
    t.regex(obstacle(kind, [node], images) ?? "", reason);
  });
}
