/** What reboot and shutdown have in common: stages, a warning, and that somebody must be there to obey. */

import { Type } from "typebox";
import type { RebootParameters } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { check } from "../parameters.ts";

export const warnSecondsSchema = Type.Integer({ minimum: 0, maximum: 3600, default: 0 });

const schema = Type.Object({ warnSeconds: warnSecondsSchema }, { additionalProperties: false });

export function parsePowerParameters(value: unknown): RebootParameters {
  return check(schema, value);
}

/** The order, then what the node does with it. */
export function orderedStages<Second extends "rebooting" | "powering-off">(second: Second) {
  const stages = ["requested", second] as const;
  return {
    stages,
    agentStages: stages,
    stageAfterDone: second,
    stageWhenFetched: second,
  } as const;
}

export function refuseWithoutAgent(node: Node): string | undefined {
  if (node.quarantined) return `${node.name} is held back: ${node.reason ?? "in quarantine"}`;
  if (node.connection === "online" && node.agent) return undefined;
  return `${node.name} is offline: no agent there can obey`;
}
