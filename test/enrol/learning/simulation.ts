/**
 * The trials of simulation.test.ts with as many seeds as wanted:
 *
 *   node test/enrol/learning/simulation.ts --seeds 1000 --shape own --fault inverted --blind --kills 8
 */

import { parseArgs } from "node:util";
import { runTrial } from "./trial.ts";
import type { RelayFault } from "./world.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    shape: { type: "string", default: "shared" },
    fault: { type: "string", default: "stuck-on" },
    blind: { type: "boolean", default: false },
    lldp: { type: "boolean", default: false },
    kills: { type: "string", default: "0" },
  },
});
const seeds = Number(values.seeds);
let bad = 0;
let worst = 0;
let kills = 0;
for (let seed = 1; seed <= seeds; seed++) {
  const trial = await runTrial({
    ...{ seed, stacks: 12, perStack: 4, late: 1, dead: 1, foreign: 1 },
    shape: values.shape === "own" ? "own" : "shared",
    fault: values.fault as RelayFault,
    canQuery: !values.blind,
    hearsPorts: values.lldp,
    kills: Number(values.kills),
  });
  const { wrong, missing, unflagged, status } = trial;
  const isRight = wrong.length + missing.length + unflagged.length === 0 && status.state === "done";
  if (!isRight) {
    bad += 1;
    process.stdout.write(
      `${JSON.stringify({ seed, state: status.state, wrong, missing, unflagged })}\n`,
    );
  }
  worst = Math.max(worst, trial.seconds);
  kills += trial.kills;
  trial.world.store.close();
}
process.stdout.write(`${JSON.stringify({ seeds, bad, kills, longestSeconds: worst })}\n`);
process.exitCode = bad === 0 ? 0 : 1;
