/**
 * D37, D38: an install from the request to the installed system's first call, with a server that is
 * killed at every commit, and with a disk that refuses each commit once.
 */

import { join } from "node:path";
import test from "ava";
import type { Task } from "#protocol/job.ts";
import { ProvisionError, UnavailableError } from "../../server/errors.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import type { Store } from "../../server/store/store.ts";
import { Killed, openMortalStore } from "../support/mortal-store.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { createRig, type Rig } from "./rig.ts";

const stages = ["preparing", "writing", "verifying", "configuring", "committing"] as const;

/** A node that runs an installed system, obeys, and repeats what was not acknowledged. */
function createAgent() {
  let boot = 0;
  let isNetinst = false;
  let at = 0;
  /** Restarts by the attempt and stage that ordered them. */
  const restarts: string[] = [];

  const call = (rig: Rig) => {
    const role = isNetinst ? "netinst" : "resident";
    return rig.checkIn(role, `boot-${boot}`);
  };
  const act = async (rig: Rig): Promise<void> => {
    const order = rig.order();
    if (order?.action === "reboot") {
      restarts.push(`${order.epoch} ${isNetinst ? "out of" : "into"} netinst`);
      isNetinst = !isNetinst;
      boot += 1;
      at = 0;
    } else if (order?.action === "install") {
      const stage = stages[at] ?? "committing";
      const isDone = at >= stages.length;
      await rig.report({
        bootId: `boot-${boot}`,
        stage,
        percent: 50,
        status: isDone ? "done" : "running",
      });
      at += 1;
    }
  };
  return {
    restarts,
    async live(rig: Rig): Promise<void> {
      await call(rig);
      await act(rig);
    },
  };
}

interface Outcome {
  readonly task: Task | undefined;
  readonly node: string;
  readonly restarts: readonly string[];
  /** Steps that the server made; fewer than asked for: nothing was in its way. */
  readonly isOver: boolean;
  readonly refusals: number;
}

async function play(path: string, at: number, when: "before" | "after" | "refused") {
  const death = { at: 0, when, count: 0 };
  let store: Store = openMortalStore(path, death);
  let rig = await createRig("on", { store });
  const agent = createAgent();
  await agent.live(rig);
  death.at = death.count + at;
  let refusals = 0;
  let isAlive = true;
  for (let turn = 0; turn < 60; turn++) {
    try {
      const isAsked = store.jobs.list({ limit: 1 }).length > 0;
      if (!isAsked) await rig.create();
      await agent.live(rig);
      await rig.clock.advance(5000);
      rig.nodes.markOffline();
    } catch (error) {
      if (error instanceof UnavailableError) refusals += 1;
      if (!(error instanceof Killed) && !(error instanceof ProvisionError)) throw error;
    }
    if (when === "refused" || !isAlive || death.count < death.at) continue;
    isAlive = false;
    const dead = store;
    store = openSqliteStore(path);
    rig = await rig.restart(store);
    dead.close();
  }
  const task = store.jobs.list({ limit: 1 }).flatMap(({ id }) => store.tasks.ofJob(id))[0];
  const outcome: Outcome = {
    task,
    node: rig.node.state,
    restarts: agent.restarts,
    isOver: death.count < death.at,
    refusals,
  };
  await rig.jobs.close();
  store.close();
  return outcome;
}

for (const when of ["before", "after"] as const) {
  test(`D37: the server killed ${when} each commit of an install: it ends installed, restarted once each way in an attempt`, async (t) => {
    const directory = temporaryDirectory(t);
    let kills = 0;
    for (let at = 1; ; at++) {
      const { task, node, restarts, isOver } = await play(join(directory, `${at}.db`), at, when);
      const where = `killed ${when} commit ${at}: ${task?.state} ${task?.reason}`;
      t.is(task?.state, "done", where);
      t.is(node, "installed", where);
      t.deepEqual(restarts, [...new Set(restarts)], where);
      if (isOver) break;
      kills += 1;
    }
    t.true(kills > 12, `${kills}`);
    t.log(`${kills} kills`);
  });
}

test("D38: a disk that refuses any one commit of an install: it goes on, or the next attempt does", async (t) => {
  const directory = temporaryDirectory(t);
  let refused = 0;
  for (let at = 1; ; at++) {
    const { task, node, restarts, isOver, refusals } = await play(
      join(directory, `${at}.db`),
      at,
      "refused",
    );
    const where = `commit ${at} refused: ${task?.state} ${task?.stage} ${task?.reason}`;
    t.is(task?.state, "done", where);
    t.is(node, "installed", where);
    t.deepEqual(restarts, [...new Set(restarts)], where);
    if (isOver) break;
    refused += refusals;
  }
  t.true(refused > 5, `${refused}`);
  t.log(`${refused} refusals were told to somebody`);
});
