/** What reboot and shutdown have in common: their parameters, and that somebody must be there to obey. */

import { Type } from "typebox";
import type { RebootParameters } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { check } from "../parameters.ts";

const schema = Type.Object(
  { warnSeconds: Type.Integer({ minimum: 0, maximum: 3600, default: 0 }) },
  { additionalProperties: false },
);

export function parsePowerParameters(value: unknown): RebootParameters {
  return check(schema, value);
}

export function refuseWithoutAgent(node: Node): string | undefined {
  if (node.quarantined) return `${node.name} is held back: ${node.reason ?? "in quarantine"}`;
  if (node.connection === "online" && node.agent) return undefined;
  return `${node.name} is offline: no agent there can obey`;
}
