/** D37: a capture, with a server that is killed before and after each of its commits. */

import { join } from "node:path";
import test from "ava";
import type { Task } from "#protocol/job.ts";
import { ProvisionError } from "../../server/errors.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import type { Store } from "../../server/store/store.ts";
import { Killed, openMortalStore } from "../support/mortal-store.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { createRig, digest, type Rig } from "./rig.ts";

/** A node with an installed system, which obeys, and repeats what was not acknowledged. */
function createAgent() {
  let boot = 0;
  let isNetinst = false;
  let percent = 0;
  const restarts: string[] = [];
  /** Attempts of which everything has arrived. */
  const sent = new Set<string>();
  const act = async (rig: Rig): Promise<void> => {
    const bootId = `boot-${boot}`;
    await rig.checkIn(isNetinst ? "netinst" : "resident", bootId);
    const order = rig.order();
    if (order?.action === "reboot") {
      restarts.push(`${order.epoch} ${isNetinst ? "out of" : "into"} netinst`);
      isNetinst = !isNetinst;
      boot += 1;
      percent = 0;
    } else if (order?.action === "capture") {
      rig.jobs.checkAttempt(rig.node.id, { ...order, bootId });
      if (percent === 100) sent.add(`${order.taskId} ${order.epoch}`);
      const status = percent === 100 ? "done" : "running";
      await rig.report({ bootId, stage: "sending", percent, status });
      percent = Math.min(100, percent + 50);
    }
  };
  return { restarts, sent, act };
}

async function play(path: string, at: number, when: "before" | "after") {
  const death = { at: 0, when, count: 0 };
  let store: Store = openMortalStore(path, death);
  let rig = await createRig("on", { store });
  rig.nodes.update(rig.node.id, { state: "installed", image: digest });
  const agent = createAgent();
  const taken: string[] = [];
  const lead = (to: Rig) => {
    to.captured = async ({ taskId, epoch }) => {
      taken.push(`${taskId} ${epoch}`);
      return agent.sent.has(`${taskId} ${epoch}`) ? { digest } : undefined;
    };
    return to;
  };
  await agent.act(lead(rig));
  death.at = death.count + at;
  let isAlive = true;
  for (let turn = 0; turn < 40; turn++) {
    try {
      const isAsked = store.jobs.list({ limit: 1 }).length > 0;
      const parameters = { name: "golden", format: "rootfs-tar", leaveOut: [] } as const;
      if (!isAsked) await rig.create({ kind: "capture", parameters });
      await agent.act(rig);
      await rig.clock.advance(5000);
      rig.nodes.markOffline();
    } catch (error) {
      if (!(error instanceof Killed) && !(error instanceof ProvisionError)) throw error;
    }
    if (!isAlive || death.count < death.at) continue;
    isAlive = false;
    const dead = store;
    store = openSqliteStore(path);
    rig = lead(await rig.restart(store));
    dead.close();
  }
  const task: Task | undefined = store.jobs
    .list({ limit: 1 })
    .flatMap(({ id }) => store.tasks.ofJob(id))[0];
  const { state, image } = rig.node;
  const wasWhole = taken.every((key) => agent.sent.has(key));
  await rig.jobs.close();
  store.close();
  const isOver = death.count < death.at;
  return { task, node: `${state} ${image}`, restarts: agent.restarts, wasWhole, isOver };
}

for (const when of ["before", "after"] as const) {
  test(`D37: the server killed ${when} each commit of a capture: it ends done, the node in its own system`, async (t) => {
    const directory = temporaryDirectory(t);
    let kills = 0;
    for (let at = 1; ; at++) {
      const end = await play(join(directory, `${at}.db`), at, when);
      const where = `killed ${when} commit ${at}: ${end.task?.stage} ${end.task?.reason}`;
      t.is(end.task?.state, "done", where);
      t.is(end.node, `installed ${digest}`, where);
      t.deepEqual(end.restarts, [...new Set(end.restarts)], where);
      t.true(end.wasWhole, where);
      if (end.isOver) break;
      kills += 1;
    }
    t.true(kills > 6, `${kills}`);
    t.log(`${kills} kills`);
  });
}
