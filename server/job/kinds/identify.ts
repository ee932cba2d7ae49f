/** Identify: the agent shows which board it is on, and says so when it has. Nothing on the node changes. */

import { Type } from "typebox";
import { type Milliseconds, milliseconds } from "#protocol/brand.ts";
import { AttemptError, type Kind } from "../kind.ts";
import { check } from "../parameters.ts";
import { refuseWithoutAgent } from "./power-parameters.ts";

const schema = Type.Object(
  { seconds: Type.Integer({ minimum: 1, maximum: 600, default: 30 }) },
  { additionalProperties: false },
);

/** Beyond the seconds asked for: the order's way there, and the last report's way back. */
const margin = milliseconds(60_000);

export const identify: Kind<"identify"> = {
  kind: "identify",
  stages: ["requested", "showing", "shown"],
  agentStages: ["requested", "showing"],
  stageAfterDone: "shown",
  parse: (value) => check(schema, value),
  refuse: refuseWithoutAgent,

  async run(run, { parameters: { seconds } }) {
    const before = run.node.agent?.bootId;
    if (before === undefined) throw new AttemptError("its agent never called", false);
    if (run.task.stage !== "shown") {
      run.order({ action: "identify", seconds, name: run.node.name }, before);
    }
    const limit = (seconds * 1000 + margin) as Milliseconds;
    const shown = await run.until(() => {
      if (run.task.stage === "shown") return true;
      if (run.node.agent?.bootId === before) return undefined;
      throw new AttemptError("the node restarted meanwhile", false);
    }, limit);
    if (!shown) throw new AttemptError(`no word of it within ${limit / 1000} s`, false);
    return {};
  },
};
