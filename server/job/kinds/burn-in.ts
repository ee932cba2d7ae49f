/**
 * Burn-in: the agent in netinst tests memory, processor and disks for a while.
 *
 *   waiting-for-agent -> testing -> tested
 *   (we)                 (netinst)
 *
 * A node that fails it is `failed`, and so is one that restarts under the load. Disks are written
 * only when that was asked for, and of them only what {@link DiskGuard} allows.
 */

import { Type } from "typebox";
import { agentsWork, bootIdBefore, bringIntoNetinst } from "../agent-work.ts";
import type { Kind, TaskRun } from "../kind.ts";
import { check } from "../parameters.ts";

const schema = Type.Object(
  {
    seconds: Type.Integer({ minimum: 1, maximum: 86_400, default: 600 }),
    writeDisks: Type.Boolean({ default: false }),
  },
  { additionalProperties: false },
);

export const burnIn: Kind<"burn-in"> = {
  kind: "burn-in",
  stages: ["waiting-for-agent", "testing", "tested"],
  agentStages: ["testing"],
  stageAfterDone: "tested",
  parse: (value) => check(schema, value),

  refuse(node) {
    if (node.quarantined) return `${node.name} is held back: ${node.reason ?? "in quarantine"}`;
    if (node.state === "retired") return `${node.name} is retired`;
    if (node.state === "discovered") {
      return `${node.name} has not enrolled yet: let it boot from the network once`;
    }
    if (node.image !== undefined) {
      return `${node.name} has an installed system, which would have to be stopped for hours: retire the node first`;
    }
    return undefined;
  },

  async run(run, { parameters: { seconds, writeDisks } }) {
    const order = (bootId: string) =>
      run.order({ action: "burn-in", seconds, writeDisks, guard: run.guard("known") }, bootId);
    if (run.task.stage === "waiting-for-agent") {
      order((await bringIntoNetinst(run)).bootId);
      run.setStage("testing");
    } else if (isTesting(run)) {
      order(bootIdBefore(run));
    }
    await agentsWork(run, () => isTesting(run), false);
    const isFailed = run.node.state === "failed";
    return isFailed ? { state: "enrolled", reason: undefined } : {};
  },

  nodeWhenTold: (_node, { burnIn: told }) => (told ? { burnIn: told } : {}),

  // A node that never called was not tested: it is what it was.
  nodeWhenEnded: (_node, task, reason, outcome) =>
    outcome === "cancelled" || task.stage === "waiting-for-agent"
      ? {}
      : { state: "failed", reason: `burn-in: ${reason}` },
};

function isTesting({ task }: TaskRun): boolean {
  return task.stage === "testing";
}
