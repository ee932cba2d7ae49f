/**
 * What is done on each group of alike nodes once they are ready, as soon as cores are free:
 *
 *   more than one node    install, canary, cancellation, rolling update (or reboot), shutdown
 *   the next group        install, reboot by a schedule in a window, shutdown
 *   others                install, reboot, shutdown
 *
 * So every step is shown once, and the groups work beside each other.
 */

import { createPermits, type Permits } from "./permits.ts";
import {
  cancelWarnedReboot,
  type PlannedSteps,
  rebootInWindow,
  rollUpdate,
  stopAtCanary,
} from "./planned.ts";
import {
  type Group,
  groupsOf,
  installGroup,
  type NodeSummary,
  rebootNodes,
  type Scenario,
  shutDownNodes,
  summaryOf,
} from "./scenario.ts";
import { nextVersionOf } from "./versions.ts";

export interface WorkDone {
  readonly nodes: readonly NodeSummary[];
  readonly steps: PlannedSteps;
}

/**
 * @param update - the image of alike nodes has a second version, to which they are brought
 * @throws DemoFailure naming what did not hold.
 */
export async function workOnRack(scenario: Scenario, update: boolean): Promise<WorkDone> {
  const permits = createPermits(scenario.atOnce);
  const groups = groupsOf(scenario.rack.nodes);
  const rolling = groups.find(({ nodes }) => nodes.length > 1);
  const planned = groups.find((group) => group !== rolling) ?? rolling;
  const done = await Promise.all(
    groups.map(async (group): Promise<WorkDone> => {
      await installGroup(scenario, group, permits, rolling?.nodes ?? []);
      const steps = {
        ...(group === rolling && (await rollOut(scenario, group, permits, update))),
        ...(group === planned && {
          window: await permits.holding(1, () => rebootInWindow(scenario, group.nodes)),
        }),
      };
      await permits.holding(1, async () => {
        if (!("update" in steps || "window" in steps)) await rebootNodes(scenario, group.nodes);
        await shutDownNodes(scenario, group.nodes);
      });
      return { nodes: group.nodes.map((member) => summaryOf(scenario, member)), steps };
    }),
  );
  return {
    nodes: done.flatMap(({ nodes }) => nodes),
    steps: Object.assign({}, ...done.map(({ steps }) => steps)),
  };
}

/** One node at a time is busy. */
async function rollOut(
  scenario: Scenario,
  { image, nodes }: Group,
  permits: Permits,
  update: boolean,
): Promise<PlannedSteps> {
  const [first] = nodes;
  if (!first) return {};
  return await permits.holding(1, async () => ({
    canary: await stopAtCanary(scenario, nodes),
    cancelled: await cancelWarnedReboot(scenario, first),
    ...(update && { update: await rollUpdate(scenario, nodes, nextVersionOf(image)) }),
  }));
}
