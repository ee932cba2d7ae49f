/**
 * D37: the server killed at every commit of a roll-out in a window, made by a
 * schedule, in which a node fails and a person resumes. After each restart the
 * rest happens as if nothing had been: one attempt, and one reboot of each node.
 */

import test from "ava";
import type { Job } from "#protocol/job.ts";
import type { Store } from "../../server/store/store.ts";
import { type Crew, createCrew } from "./crew.ts";

const start = "2026-11-21T12:00:00Z"; // a Saturday

/** Commits nothing more after `commits` outermost transactions, as a killed process. */
function mortal(store: Store, commits: number) {
  const { transaction } = store;
  let depth = 0;
  let left = commits;
  const death = { isDead: false, revive: () => void Object.assign(store, { transaction }) };
  Object.assign(store, {
    transaction<T>(work: () => T): T {
      if (death.isDead) throw new Error("dead");
      if (depth > 0) return transaction(work);
      depth += 1;
      try {
        if (left === 0) {
          death.isDead = true;
          throw new Error("killed");
        }
        left -= 1;
        return transaction(work);
      } finally {
        depth -= 1;
      }
    },
  });
  return death;
}

interface Outcome {
  readonly jobs: number;
  readonly tasks: readonly string[];
  readonly epochs: readonly number[];
  readonly boots: readonly number[];
}

const names = ["a1", "a2", "b1", "b2"];

/** Nodes do what they are ordered, but b1, which refuses. */
async function play(commits: number): Promise<{ outcome: Outcome; wasKilled: boolean }> {
  let crew = await createCrew({ a: 2, b: 2 }, start);
  crew.store.windows.put({
    name: "noon",
    effect: "allows",
    opens: "sat 12:01",
    minutes: 120,
    zone: "UTC",
  });
  crew.schedules.put(
    {
      name: "weekly",
      at: "sat 12:01",
      zone: "UTC",
      kind: "reboot",
      selector: "all",
      parameters: { warnSeconds: 0 },
      window: "noon",
      rollout: { canary: 1, batch: 2, failures: 0, settleSeconds: 0 },
      missed: "run-once",
      overlap: "queue",
    },
    "ada",
  );
  const death = mortal(crew.store, commits);
  for (let turn = 0; turn < 60; turn++) {
    await step(crew);
    if (!death.isDead) continue;
    death.revive();
    crew = await crew.restart();
  }
  const jobs = crew.store.jobs.list({ limit: 9 });
  const tasks = jobs.flatMap((job) => crew.store.tasks.ofJob(job.id));
  const outcome = {
    jobs: jobs.length,
    tasks: jobs.map((job) => `${job.state}: ${crew.shown(job)}`),
    epochs: tasks.map(({ epoch }) => epoch),
    boots: names.map(crew.boots),
  };
  return { outcome, wasKilled: death.isDead };
}

async function step(crew: Crew): Promise<void> {
  try {
    await crew.pass(15);
    for (const name of names) {
      const id = crew.nodes.byName(name)?.id;
      if (!id || !crew.jobs.assignmentFor(id)) continue;
      if (name === "b1") await crew.fail(name);
      else await crew.obey(name);
    }
    const paused = crew.store.jobs.list({ limit: 1 }).find(({ paused: one }: Job) => one);
    if (paused) crew.jobs.resume(paused.id, "ada");
  } catch {
    // the server died under it; the next turn begins with another
  }
}

test("D37: killed at every commit, a planned roll-out ends as it does unkilled", async (t) => {
  const { outcome: usual } = await play(Number.POSITIVE_INFINITY);
  t.deepEqual(usual, {
    jobs: 1,
    tasks: ["failed: a1 done, a2 done, b1 failed, b2 done"],
    epochs: [1, 1, 1, 1],
    boots: [2, 2, 1, 2],
  });
  let kills = 0;
  for (let commits = 0; ; commits++) {
    const { outcome, wasKilled } = await play(commits);
    t.deepEqual(outcome, usual, `commit ${commits}`);
    if (!wasKilled) break;
    kills += 1;
  }
  t.true(kills > 20, `${kills}`);
  t.log(`${kills} kills`);
});
