/**
 * The server killed at every commit, and before every word to the outlet, while it switches a
 * node off and on again: the node has power in the end, and lost it once per attempt at most.
 */

import { join } from "node:path";
import test from "ava";
import type { PowerState } from "#protocol/node.ts";
import type { JobRequest } from "../../server/job/jobs.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import type { Store } from "../../server/store/store.ts";
import { Killed, openMortalStore } from "../support/mortal-store.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { createRig, installRequest, type Rig } from "./rig.ts";

/** An outlet that may tell what it does, and counts in which attempt it cut the power. */
function createOutlet(tells: boolean, mayDie: () => void, epoch: () => number) {
  let state: "on" | "off" = "on";
  const losses: number[] = [];
  const turn = (to: "on" | "off") => {
    mayDie();
    if (state === "on" && to === "off") losses.push(epoch());
    state = to;
  };
  const cut = async (restart: boolean) => {
    turn("off");
    if (restart) turn("on");
  };
  return {
    state: () => state,
    losses,
    power: {
      set: async (_slot: unknown, to: "on" | "off") => turn(to),
      cycle: () => cut(true),
      cut: (_slot: unknown, restart: boolean) => cut(restart),
      query: async (): Promise<PowerState> => (tells ? state : "unknown"),
    },
  };
}

interface Outcome {
  readonly power: "on" | "off";
  /** Epochs in which the power went off. */
  readonly losses: readonly number[];
  readonly task: string;
  readonly wasKilled: boolean;
}

/** A quarter of an hour of a node without a system, in which the server dies at its `at`-th step. */
async function play(
  path: string,
  request: Partial<JobRequest>,
  tells: boolean,
  at: number,
): Promise<Outcome> {
  const death = { at: 0, when: "before" as const, count: 0 };
  let store: Store = openMortalStore(path, death);
  const outlet = createOutlet(
    tells,
    () => store.transaction(() => undefined),
    () => store.jobs.list({ limit: 1 }).flatMap(({ id }) => store.tasks.ofJob(id))[0]?.epoch ?? 0,
  );
  let rig: Rig = await createRig("on", { store, power: outlet.power });
  death.at = death.count + at;
  let wasKilled = false;
  let isMade = false;
  for (let turn = 0; turn < 60; turn++) {
    try {
      if (!isMade) await rig.create(request);
      isMade = true;
      await rig.silent(15);
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
    }
    if (wasKilled || death.count < death.at) continue;
    wasKilled = true;
    const dead = store;
    store = openSqliteStore(path);
    rig = await rig.restart(store);
    dead.close();
    isMade = store.jobs.list({ limit: 1 }).length > 0;
  }
  const { state, epoch, reason } = rig.task();
  await rig.jobs.close();
  store.close();
  const task = `${state} in attempt ${epoch}${reason === undefined ? "" : `: ${reason}`}`;
  return { power: outlet.state(), losses: outlet.losses, task, wasKilled };
}

const cycles: readonly (readonly [title: string, request: Partial<JobRequest>])[] = [
  ["power-cycle", { kind: "power-cycle", parameters: { force: true } }],
  ["shutdown with cycle", { kind: "shutdown", parameters: { warnSeconds: 0, outlet: "cycle" } }],
  ["install of a node that is silent", installRequest],
];
for (const [title, request] of cycles) {
  for (const tells of [true, false]) {
    const of = tells ? "an outlet that tells its state" : "one that cannot";
    test(`D37: killed at every step of the ${title}, ${of}: power at the end, lost once per attempt`, async (t) => {
      const directory = temporaryDirectory(t);
      let kills = 0;
      for (let at = 1; ; at++) {
        const { power, losses, task, wasKilled } = await play(
          join(directory, `${at}.db`),
          request,
          tells,
          at,
        );
        const where = `killed at step ${at}: ${task}, off in attempts ${losses.join(" ")}`;
        t.is(power, "on", where);
        t.is(new Set(losses).size, losses.length, where);
        t.true(losses.length > 0, where);
        if (request.kind !== "install") t.is(task, "done in attempt 1", where);
        if (!wasKilled) break;
        kills += 1;
      }
      t.true(kills > 4, `${kills}`);
      t.log(`${kills} kills`);
    });
  }
}
