/**
 * Racks of simulated boards in namespaces: real firmware exchanges, real agents, a real
 * server. Root, iproute2 and busybox are needed.
 */

import test, { type ExecutionContext } from "ava";
import { createCleanup } from "../../scripts/lab/cleanup.ts";
import { type LearnOptions, learnOnce } from "../../scripts/lab/learn.ts";
import { storm } from "../../scripts/lab/storm.ts";

const minute = 60_000;

const usual: LearnOptions = {
  stacks: 12,
  perStack: 4,
  perSlotOutlets: false,
  models: ["pi4", "pi3", "pi5", "bios"],
  faults: {},
  senses: true,
  slotTimeoutSeconds: 15,
  quietSeconds: 12,
  kills: 0,
  seed: 48,
};

function laboratory(t: ExecutionContext) {
  const cleanup = createCleanup((line) => t.log(line));
  t.teardown(() => cleanup.run());
  return { cleanup, say: (line: string) => t.log(line) };
}

test.serial(
  "12 stacks of 4: one late, one dead, one foreign board, one outlet stuck on, the server killed: who can be placed is, and nobody wrongly",
  async (t) => {
    t.timeout(12 * minute);
    const { cleanup, say } = laboratory(t);
    const faults = { late: 1, dead: 1, foreign: 1, "stuck-on": 1 };
    const { result, problems } = await learnOnce({ ...usual, faults, kills: 1 }, cleanup, say);
    t.deepEqual(problems, []);
    t.is(result.boards, 48);
    t.is(result.right, 43, "without the dead one and the four of the stuck outlet");
    t.is(result.wrong, 0);
  },
);

test.serial(
  "an outlet for each slot: every board is in its slot, not only in its stack",
  async (t) => {
    t.timeout(6 * minute);
    const { cleanup, say } = laboratory(t);
    const { result, problems } = await learnOnce(
      {
        ...usual,
        stacks: 2,
        perStack: 3,
        perSlotOutlets: true,
        models: ["pi4", "edk2"],
        quietSeconds: 3,
      },
      cleanup,
      say,
    );
    t.deepEqual(problems, []);
    t.is(result.right, 6);
  },
);

test.serial(
  "installs while server, Redis and agents are killed: all end installed, nothing acknowledged is lost, no attempt has an effect twice",
  async (t) => {
    t.timeout(12 * minute);
    const { cleanup, say } = laboratory(t);
    const { result, problems } = await storm({ nodes: 8, minutes: 0.7, seed: 5 }, cleanup, say);
    t.deepEqual(problems, []);
    t.is(result.installed, 8);
    t.is(result.lost, 0);
    t.true(result.kills > 0);
    t.true(result.effectsPerEpochMax <= 1);
  },
);
