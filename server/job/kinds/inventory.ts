/** Inventory: the agent looks at its machine again and tells what it found. Nothing on the node changes. */

import { Type } from "typebox";
import { milliseconds } from "#protocol/brand.ts";
import { AttemptError, type Kind } from "../kind.ts";
import { check } from "../parameters.ts";
import { refuseWithoutAgent } from "./power-parameters.ts";

const schema = Type.Object({}, { additionalProperties: false });

/** A disk that sleeps takes some 10 s to answer; a machine may have many. */
const limit = milliseconds(180_000);

export const inventory: Kind<"inventory"> = {
  kind: "inventory",
  stages: ["requested", "reading-hardware", "recorded"],
  agentStages: ["requested", "reading-hardware"],
  stageAfterDone: "recorded",
  parse: (value) => check(schema, value),
  refuse: refuseWithoutAgent,

  async run(run) {
    const before = run.node.agent?.bootId;
    if (before === undefined) throw new AttemptError("its agent never called", false);
    if (run.task.stage !== "recorded") run.order({ action: "inventory" }, before);
    const recorded = await run.until(() => {
      if (run.task.stage === "recorded") return true;
      if (run.node.agent?.bootId === before) return undefined;
      throw new AttemptError("the node restarted meanwhile", true);
    }, limit);
    if (!recorded) throw new AttemptError(`no word of it within ${limit / 1000} s`, true);
    return {};
  },

  nodeWhenTold: (_node, { hardware }) => (hardware ? { hardware } : {}),
};
