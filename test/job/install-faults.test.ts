/**
 * D37, D38: an install from the request to the installed system's first call, with a server that is
 * killed at every commit, and with a disk that refuses each commit once.
 */

import test, { type ExecutionContext } from "ava";
import { type Agent, tryEachCommit } from "./mortal-run.ts";
import type { Rig } from "./rig.ts";

const stages = ["preparing", "writing", "verifying", "configuring", "committing"] as const;

/** A node that runs an installed system. */
function createAgent(): Agent {
  let boot = 0;
  let isNetinst = false;
  let at = 0;
  const restarts: string[] = [];
  const live = async (rig: Rig): Promise<void> => {
    const bootId = `boot-${boot}`;
    await rig.checkIn(isNetinst ? "netinst" : "resident", bootId);
    const order = rig.order();
    if (order?.action === "reboot") {
      restarts.push(`${order.epoch} ${isNetinst ? "out of" : "into"} netinst`);
      isNetinst = !isNetinst;
      boot += 1;
      at = 0;
    } else if (order?.action === "install") {
      const stage = stages[at] ?? "committing";
      const status = at >= stages.length ? "done" : "running";
      await rig.report({ bootId, stage, percent: 50, status });
      at += 1;
    }
  };
  return { restarts, prepare: live, ask: (rig) => rig.create(), live };
}

function tryInstalls(t: ExecutionContext, when: "before" | "after" | "refused") {
  return tryEachCommit(t, when, createAgent, ({ task, node, where }) => {
    t.is(task?.state, "done", where);
    t.is(node.state, "installed", where);
  });
}

for (const when of ["before", "after"] as const) {
  test(`D37: the server killed ${when} each commit of an install: it ends installed, restarted once each way in an attempt`, async (t) => {
    const { deaths } = await tryInstalls(t, when);
    t.true(deaths > 12, `${deaths}`);
  });
}

test("D38: a disk that refuses any one commit of an install: it goes on, or the next attempt does", async (t) => {
  const { refusals } = await tryInstalls(t, "refused");
  t.true(refusals > 5, `${refusals}`);
});

/** Whoever cancels asks again until he is told that it is done. */
function createCanceller(): Agent & { isTold: boolean } {
  const agent = createAgent();
  const canceller = {
    ...agent,
    isTold: false,
    async live(rig: Rig): Promise<void> {
      const { jobId, stage } = rig.task();
      if (stage === "writing" && !canceller.isTold) {
        rig.jobs.cancel(jobId, "ada");
        canceller.isTold = true;
      }
      await agent.live(rig);
    },
  };
  return canceller;
}

for (const when of ["before", "after", "refused"] as const) {
  test(`D37: an install is cancelled ${when === "refused" ? "while the disk refuses any one commit" : `and the server killed ${when} each commit`}: it is cancelled, and says so once`, async (t) => {
    const { deaths } = await tryEachCommit(
      t,
      when,
      createCanceller,
      ({ agent, task, node, where }) => {
        t.true(agent.isTold, where);
        t.is(task?.state, "cancelled", where);
        t.is(node.state, "failed", where);
      },
    );
    t.true(deaths > 7, `${deaths}`);
  });
}
