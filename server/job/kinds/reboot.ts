/** Reboot: done when the node's agent calls from another boot than the one that was asked. */

import { type Milliseconds, milliseconds } from "#protocol/brand.ts";
import { AttemptError, type Kind, type TaskRun } from "../kind.ts";
import { orderedStages, parsePowerParameters, refuseWithoutAgent } from "./power-parameters.ts";

export const reboot: Kind<"reboot"> = {
  kind: "reboot",
  ...orderedStages("rebooting"),
  endsOnline: true,
  parse: parsePowerParameters,
  refuse: refuseWithoutAgent,

  async run(run, { parameters: { warnSeconds } }) {
    // Kept over attempts: a node that restarted late has still restarted.
    const before = run.task.bootIdBefore ?? run.node.agent?.bootId;
    if (before === undefined) throw new AttemptError("its agent never called", false);
    if (!hasRestarted(run, before)) await order(run, warnSeconds, before);
    const limit = milliseconds(warnSeconds * 1000 + run.timing.boot) as Milliseconds;
    const done = await run.until(() => hasRestarted(run, before) || undefined, limit);
    if (!done) {
      throw new AttemptError(`it did not come back within ${Math.round(limit / 1000)} s`, true);
    }
    return { power: "on" };
  },
};

function hasRestarted({ node }: TaskRun, before: string): boolean {
  return node.connection === "online" && node.agent !== undefined && node.agent.bootId !== before;
}

/** The agent restarts the node; one that went down in an earlier attempt and stayed there is power-cycled. */
async function order(run: TaskRun, warnSeconds: number, before: string): Promise<void> {
  run.openWindow("reboot");
  const stuck = run.task.epoch > 1 && run.node.connection === "offline";
  if (!stuck) return run.order({ action: "reboot", warnSeconds }, before);
  if (run.hasOutlet() && (await run.switchPowerOnce())) {
    run.say("it did not come back: switched its power");
  }
}
