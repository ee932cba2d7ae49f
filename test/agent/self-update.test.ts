/** Which agents are told to replace themselves: one first, a few at a time, and none with what does not work. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { NodeId } from "#protocol/brand.ts";
import type { Task } from "#protocol/job.ts";
import type { AgentProgram, Node } from "#protocol/node.ts";
import { createSelfUpdates } from "../../server/agent/self-update.ts";
import { ForbiddenError } from "../../server/errors.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { manualClock } from "../support/manual-clock.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const [old, first, second] = ["0", "1", "2"].map((one) => one.repeat(64)) as [
  string,
  string,
  string,
];
const minute = 60_000;

function startSite(t: ExecutionContext, selfUpdate = true) {
  const netinstDirectory = temporaryDirectory(t);
  const store = openSqliteStore(":memory:");
  t.teardown(() => store.close());
  const events = createEventBus(silentLog);
  const alarms: string[] = [];
  events.on("alarm", ({ text }) => void alarms.push(text));
  const clock = manualClock();
  const busy: { id?: NodeId } = {};
  const updates = createSelfUpdates({
    config: { agent: { selfUpdate, updatesAtOnce: 2 }, netinstDirectory },
    ...{ events, clock, log: silentLog },
    store: {
      audit: store.audit,
      tasks: { ...store.tasks, unfinishedOf: (id) => (id === busy.id ? [{} as Task] : []) },
    },
  });
  const build = async (stage2Digest: string) => {
    const directory = join(netinstDirectory, "amd64");
    mkdirSync(directory, { recursive: true });
    const sizes = { kernelBytes: 1, stage1Bytes: 1, stage2Bytes: 50 };
    writeFileSync(
      join(directory, "netinst.json"),
      JSON.stringify({ arch: "amd64", kernelVersion: "6", ...sizes, stage2Digest }),
    );
    await clock.advance(minute);
  };
  const node = (name: string, program: AgentProgram | undefined, change: Partial<Node> = {}) =>
    ({
      ...{ id: `node_${name}` as NodeId, name, architecture: "amd64", quarantined: false },
      agent: { role: "resident", ...(program && { program }) },
      ...change,
    }) as unknown as Node;
  /** Which of these are told to update, in their order. */
  const told = (names: string, program: AgentProgram) =>
    names
      .split(" ")
      .filter((name) => updates.offer(node(name, program)) !== undefined)
      .join(" ");
  return { updates, build, node, told, alarms, clock, store, busy };
}

test("one node goes first; when it has called, two at a time follow", async (t) => {
  const { build, told, updates, node, store } = startSite(t);
  await build(first);
  t.is(told("a b c", { digest: old }), "a");
  t.is(told("a b c", { digest: old }), "a", "whose turn it is may ask again");
  t.deepEqual(updates.offer(node("a", { digest: old })), { digest: first, sizeBytes: 50 });
  t.is(told("a", { digest: first }), "");
  t.is(told("b c d e", { digest: old }), "b c");
  t.is(told("b", { digest: first }), "");
  t.is(told("c d e", { digest: old }), "c d");
  t.deepEqual(
    store.audit.list({ limit: 10 }).map(({ what, target }) => `${what} ${target}`),
    ["agent updated node_b", "agent updated node_a"],
  );
});

test("a node that never calls again gives its turn to the next after a quarter of an hour", async (t) => {
  const { build, told, clock } = startSite(t);
  await build(first);
  t.is(told("a b", { digest: old }), "a");
  await clock.advance(16 * minute);
  t.is(told("b", { digest: old }), "b");
});

test("a program that three nodes went back from is told to nobody; the next one is", async (t) => {
  const { build, told, alarms, clock } = startSite(t);
  await build(first);
  for (const name of ["a", "b", "c"]) {
    t.is(told(name, { digest: old }), name);
    t.is(alarms.length, 0);
    told(name, { digest: old, tried: { digest: first, times: 1 } });
  }
  t.is(told("a b c d", { digest: old }), "");
  await clock.advance(70 * minute);
  t.is(told("a b c d", { digest: old }), "");
  t.is(alarms.length, 1);
  t.regex(alarms[0] ?? "", /^agents are not updated to 111111111111 any more: .* on c; build/);
  await build(second);
  t.is(told("d a", { digest: old, tried: { digest: first, times: 1 } }), "d");
});

test("a node that went back is left alone for an hour", async (t) => {
  const { build, told, clock } = startSite(t);
  await build(first);
  const back = { digest: old, tried: { digest: first, times: 1 } };
  t.is(told("a", { digest: old }), "a");
  t.is(told("a", back), "");
  await clock.advance(50 * minute);
  t.is(told("a", back), "");
  await clock.advance(20 * minute);
  t.is(told("a", back), "a");
});

test("a node tries a program three times at most", async (t) => {
  const { build, told } = startSite(t);
  await build(first);
  t.is(told("a", { digest: old, tried: { digest: first, times: 2 } }), "a");
  t.is(told("b", { digest: old, tried: { digest: first, times: 3 } }), "");
});

const never: readonly (readonly [title: string, change: object, selfUpdate?: boolean])[] = [
  ["a node that is held back", { quarantined: true }],
  ["a node in netinst", { agent: { role: "netinst", program: { digest: old } } }],
  ["an agent that does not say what it runs of", { agent: { role: "resident" } }],
  ["a node of an architecture without a netinst", { architecture: "arm64" }],
  ["any node, where it is switched off", {}, false],
];
for (const [title, change, selfUpdate] of never) {
  test(`${title} is told nothing`, async (t) => {
    const { build, updates, node } = startSite(t, selfUpdate);
    await build(first);
    t.is(updates.offer(node("a", { digest: old }, change)), undefined);
  });
}

test("a node with a task waits, and without a netinst nothing happens", async (t) => {
  const { build, told, updates, node, busy } = startSite(t);
  t.is(told("a", { digest: old }), "");
  await build(first);
  busy.id = "node_a" as NodeId;
  t.is(told("a b", { digest: old }), "b");
  t.throws(() => updates.open(node("a", { digest: old }), old), { instanceOf: ForbiddenError });
});

test("what is sent is what was told", async (t) => {
  const { build, updates, node } = startSite(t);
  await build(first);
  const { sizeBytes, octets } = updates.open(node("a", { digest: old }), first);
  octets.on("error", () => undefined).destroy(); // there is no such file here
  t.is(sizeBytes, 50);
});
