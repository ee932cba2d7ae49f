/** A roll-out in words, for the command line, the page and the server's own texts. */

import type { Job, Rollout } from "./job.ts";

export function batchName(batch: number, { canary }: Pick<Rollout, "canary"> = {}): string {
  if (canary === undefined) return `batch ${batch + 1}`;
  return batch === 0 ? "the canary" : `batch ${batch}`;
}

/** What was found of the nodes that were asked last; undefined where nobody asks. */
export function healthText({ rollout, health }: Pick<Job, "rollout" | "health">) {
  if (!rollout?.health) return undefined;
  const checks = rollout.health.join(", ");
  if (!health) return `asked after each batch: ${checks}`;
  const { endedAt, healthy, of } = health;
  const name = batchName(health.batch, rollout);
  return endedAt === undefined
    ? `${name} is being asked: ${checks}`
    : `${healthy} of ${of} in ${name} healthy: ${checks}`;
}
