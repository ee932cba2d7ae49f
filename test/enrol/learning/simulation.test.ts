/**
 * Racks with one late, one dead, one foreign board and one relay that does not
 * obey, by seed: nobody is placed wrong, everybody is placed who can be, and each
 * fault is flagged with its reason. More seeds: `node test/enrol/learning/simulation.ts`.
 */

import test, { type ExecutionContext } from "ava";
import { runTrial, type TrialOptions } from "./trial.ts";

const faults = { late: 1, dead: 1, foreign: 1 } as const;
const seedsAtOnce = 8;

async function learnsRight(
  t: ExecutionContext,
  options: Omit<TrialOptions, "seed">,
  seeds: number = seedsAtOnce,
): Promise<void> {
  for (let seed = 1; seed <= seeds; seed++) {
    const { status, wrong, missing, unflagged, world } = await runTrial({ ...options, seed });
    const found = { seed, state: status.state, wrong, missing, unflagged };
    t.deepEqual(found, { seed, state: "done", wrong: [], missing: [], unflagged: [] });
    world.store.close();
  }
}

const piRack = { shape: "shared", stacks: 12, perStack: 4, ...faults } as const;
const ownOutlets = { shape: "own", stacks: 6, perStack: 4, ...faults } as const;

for (const fault of ["stuck-on", "stuck-off", "inverted", "bouncing"] as const) {
  test.serial(`12 x 4, one outlet per stack, one of them ${fault}`, (t) =>
    learnsRight(t, { ...piRack, fault }),
  );
  test.serial(
    `12 x 4, one outlet per stack, one of them ${fault} and none that can be asked`,
    (t) => learnsRight(t, { ...piRack, fault, canQuery: false }),
  );
  test.serial(`6 x 4, one outlet per slot, one of them ${fault}`, (t) =>
    learnsRight(t, { ...ownOutlets, fault }, 4),
  );
}

test.serial("12 x 4 with three late, three dead and three foreign boards", (t) =>
  learnsRight(t, { ...piRack, late: 3, dead: 3, foreign: 3, fault: "stuck-on" }, 4),
);

test.serial("12 x 4, each board in the slot its switch tells, and none a guess", (t) =>
  learnsRight(t, { ...piRack, fault: "stuck-on", hearsPorts: true }),
);

test.serial("12 x 4 with switches that tell, and the server is killed again and again", (t) =>
  learnsRight(t, { ...piRack, fault: "bouncing", hearsPorts: true, kills: 8 }, 4),
);

test.serial("12 x 4, and the server is killed again and again", (t) =>
  learnsRight(t, { ...piRack, fault: "stuck-on", kills: 8 }, 4),
);
