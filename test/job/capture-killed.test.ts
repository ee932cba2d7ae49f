/** D37: a capture, with a server that is killed before and after each of its commits. */

import test from "ava";
import { type Agent, tryEachCommit } from "./mortal-run.ts";
import { digest, type Rig } from "./rig.ts";

interface CapturedAgent extends Agent {
  /** Whether the library was only ever asked to take what had arrived. */
  tookWhole(): boolean;
}

/** A node with an installed system. */
function createAgent(): CapturedAgent {
  let boot = 0;
  let isNetinst = false;
  let percent = 0;
  const restarts: string[] = [];
  /** Attempts of which everything has arrived. */
  const sent = new Set<string>();
  const taken: string[] = [];
  const live = async (rig: Rig): Promise<void> => {
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
  return {
    restarts,
    tookWhole: () => taken.every((key) => sent.has(key)),
    lead(rig) {
      rig.captured = async ({ taskId, epoch }) => {
        taken.push(`${taskId} ${epoch}`);
        return sent.has(`${taskId} ${epoch}`) ? { digest } : undefined;
      };
    },
    async prepare(rig) {
      rig.nodes.update(rig.node.id, { state: "installed", image: digest });
      await live(rig);
    },
    ask: (rig) =>
      rig.create({
        kind: "capture",
        parameters: { name: "golden", format: "rootfs-tar", leaveOut: [] },
      }),
    live,
  };
}

for (const when of ["before", "after"] as const) {
  test(`D37: the server killed ${when} each commit of a capture: it ends done, the node in its own system`, async (t) => {
    const { deaths } = await tryEachCommit(t, when, createAgent, ({ agent, task, node, where }) => {
      t.is(task?.state, "done", where);
      t.like(node, { state: "installed", image: digest }, where);
      t.true(agent.tookWhole(), where);
    });
    t.true(deaths > 6, `${deaths}`);
  });
}
