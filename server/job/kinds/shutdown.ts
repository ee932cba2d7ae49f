/**
 * Shutdown: done when the outlet says that the node is off. Where no outlet
 * can tell (none, or a relay that only knows its own contact), done when the
 * agent that took the order has been silent for a minute. With `outlet`, its
 * power is cut then, and with `cycle` given again.
 */

import { Type } from "typebox";
import { milliseconds } from "#protocol/brand.ts";
import type { Node } from "#protocol/node.ts";
import { AttemptError, type Kind, type TaskRun } from "../kind.ts";
import { check } from "../parameters.ts";
import { orderedStages, refuseWithoutAgent, warnSecondsSchema } from "./power-parameters.ts";

const schema = Type.Object(
  {
    warnSeconds: warnSecondsSchema,
    outlet: Type.Optional(Type.Union([Type.Literal("off"), Type.Literal("cycle")])),
  },
  { additionalProperties: false },
);

/** How often the outlet is asked. */
const queryPeriod = milliseconds(5000);

export const shutdown: Kind<"shutdown"> = {
  kind: "shutdown",
  ...orderedStages("powering-off"),
  parse: (value) => check(schema, value),
  // Who only has to be cut off needs nobody to obey.
  refuse: (node, { parameters: { outlet } }) =>
    outlet !== undefined && isCutOff(node) ? undefined : refuseWithoutAgent(node),

  async run(run, { parameters: { warnSeconds, outlet } }) {
    if (outlet === undefined) {
      await untilOff(run, warnSeconds);
      return { power: "off", connection: "offline" };
    }
    if (!isCutOff(run.node)) await untilOff(run, warnSeconds);
    await run.cutPower(outlet === "cycle");
    return { power: outlet === "cycle" ? "on" : "off", connection: "offline" };
  },
};

function isCutOff({ connection, quarantined }: Node): boolean {
  return connection === "offline" && !quarantined;
}

async function untilOff(run: TaskRun, warnSeconds: number): Promise<void> {
  const { timing, task, node } = run;
  const before =
    task.stage === "powering-off" ? task.bootIdBefore : (node.agent?.bootId ?? task.bootIdBefore);
  if (before === undefined) throw new AttemptError("its agent never called", false);
  if (node.agent?.bootId === before) run.order({ action: "shutdown", warnSeconds }, before);
  const rounds = Math.ceil((warnSeconds * 1000 + timing.boot) / queryPeriod);
  for (let round = 0; round < rounds; round++) {
    if (await isOff(run, before)) return;
    await run.until(() => undefined, queryPeriod);
  }
  throw new AttemptError(
    `it was still running ${Math.round((rounds * queryPeriod) / 1000)} s after the order`,
    true,
  );
}

async function isOff(run: TaskRun, before: string): Promise<boolean> {
  const { node, task, timing } = run;
  if (node.connection === "online" && node.agent && node.agent.bootId !== before) {
    throw new AttemptError("it restarted instead of powering off", true);
  }
  if ((await run.queryPower()) === "off") return true;
  if (run.silence() < timing.offSilence) return false;
  if (task.stage === "powering-off") return true;
  throw new AttemptError(
    `no sign of life for ${timing.offSilence / 1000} s before it took the order`,
    true,
  );
}
