/** Waiting for what no event tells. AVA's time limit ends it. */

import { setTimeout } from "node:timers/promises";

/** Between two looks; a loop without a pause would take the processor from what is waited for. */
const pauseMs = 5;

export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await setTimeout(pauseMs);
}
