/**
 * Power-on, power-off and power-cycle: what the node's outlet does, at its time
 * and in its batch like any other job. What runs there is not asked: with `force`
 * it loses its power in mid-work, without it a node whose agent calls is refused
 * (`shutdown` with `outlet` ends its system first).
 */

import { Type } from "typebox";
import type { Node } from "#protocol/node.ts";
import { AttemptError, type Kind, type TaskRun } from "../kind.ts";
import { check } from "../parameters.ts";

const nothing = Type.Object({}, { additionalProperties: false });
const harsh = Type.Object(
  { force: Type.Boolean({ default: false }) },
  { additionalProperties: false },
);

export const powerOn: Kind<"power-on"> = {
  kind: "power-on",
  stages: ["requested"],
  agentStages: [],
  stageAfterDone: "requested",
  parse: (value) => check(nothing, value),
  refuse: withoutSlot,

  async run(run) {
    mustHaveOutlet(run);
    run.openWindow("power-on");
    await run.givePower();
    return { power: "on" };
  },
};

export const powerOff = cutting("power-off");
export const powerCycle = cutting("power-cycle");

type Cutting = Omit<Kind<"power-off">, "kind">;

function cutting<Name extends "power-off" | "power-cycle">(kind: Name): Kind<Name> {
  const restart = kind === "power-cycle";
  const verb: Cutting = {
    stages: ["requested"],
    agentStages: [],
    stageAfterDone: "requested",
    parse: (value) => check(harsh, value),

    refuse(node, { parameters }) {
      if (node.connection === "online" && !parameters.force) {
        return `${node.name} runs: shut it down with its outlet, or give force`;
      }
      return withoutSlot(node);
    },

    async run(run) {
      mustHaveOutlet(run);
      if (restart) run.openWindow("power-on");
      if (await run.cutPower(restart)) {
        return { power: restart ? "on" : "off", connection: "offline" };
      }
      throw new AttemptError("its outlet feeds nodes that run and are not in this job", false);
    },
  };
  return { kind, ...verb } as unknown as Kind<Name>; // the two take the same parameters
}

function withoutSlot(node: Node): string | undefined {
  return node.slot ? undefined : `${node.name} is in no slot: nobody knows its outlet`;
}

function mustHaveOutlet(run: TaskRun): void {
  if (!run.hasOutlet()) throw new AttemptError("its slot has no outlet", false);
}
