import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import type { Instant, TaskId } from "#protocol/brand.ts";
import type { Rollout, TaskState } from "#protocol/job.ts";
import { batchesOf, nextStep, withinLimits } from "../../server/job/rollout.ts";

const usual: Rollout = { failures: 0, settleSeconds: 30 };
const at = (value: number) => value as Instant;

const sizes = [
  ["all at once", {}, 4, [0, 0, 0, 0]],
  ["two at a time", { batch: 2 }, 5, [0, 0, 1, 1, 2]],
  ["a quarter at a time", { batch: "25%" }, 8, [0, 0, 1, 1, 2, 2, 3, 3]],
  ["a share of few nodes is one node", { batch: "10%" }, 3, [0, 1, 2]],
  ["a canary, then the rest", { canary: 1 }, 4, [0, 1, 1, 1]],
  ["a canary, then three at a time", { canary: 1, batch: 3 }, 8, [0, 1, 1, 1, 2, 2, 2, 3]],
  ["more canaries than nodes", { canary: 9 }, 2, [0, 0]],
] as const;
for (const [title, rollout, total, batches] of sizes) {
  test(`batches: ${title}`, (t) => {
    t.deepEqual(batchesOf({ ...usual, ...rollout }, total), [...batches]);
  });
}

testProp(
  "every node is in one batch, batches follow each other, and none is larger than asked",
  [fc.integer({ min: 1, max: 500 }), fc.nat(20), fc.integer({ min: 1, max: 100 })],
  (t, total, canary, percent) => {
    const rollout = { ...usual, batch: `${percent}%` as const, ...(canary > 0 && { canary }) };
    const batches = batchesOf(rollout, total);
    t.is(batches.length, total);
    t.is(batches[0], 0);
    batches.forEach((batch, index) => {
      const before = batches[index - 1] ?? 0;
      t.true(batch === before || batch === before + 1);
    });
    const limit = Math.max(canary, Math.ceil((total * percent) / 100));
    for (const batch of new Set(batches)) {
      t.true(batches.filter((one) => one === batch).length <= limit);
    }
  },
);

type Counts = readonly (readonly [batch: number, state: TaskState, count: number])[];
const steps: readonly (readonly [
  title: string,
  job: Parameters<typeof nextStep>[0],
  counts: Counts,
  step: object,
])[] = [
  [
    "without a roll-out all may begin",
    {},
    [
      [0, "waiting", 3],
      [0, "failed", 9],
    ],
    { do: "release", batch: 0 },
  ],
  ["nothing waits", { rollout: usual }, [[0, "running", 1]], { do: "nothing" }],
  [
    "the first batch begins",
    { rollout: usual },
    [
      [0, "waiting", 2],
      [1, "waiting", 2],
    ],
    { do: "release", batch: 0 },
  ],
  [
    "the rest of a batch begins as limits allow",
    { rollout: usual },
    [
      [0, "running", 1],
      [0, "waiting", 1],
    ],
    { do: "release", batch: 0 },
  ],
  [
    "the second waits for the first",
    { rollout: usual },
    [
      [0, "running", 1],
      [0, "done", 1],
      [1, "waiting", 2],
    ],
    { do: "wait", reason: "batch 1 to end" },
  ],
  [
    "a batch that has ended must settle",
    { rollout: { ...usual, canary: 2 } },
    [
      [0, "done", 2],
      [1, "waiting", 2],
    ],
    { do: "wait", reason: "the canary to settle until 00:02:00 UTC" },
  ],
  [
    "settled, the next begins",
    { rollout: { ...usual, settleSeconds: 10 } },
    [
      [0, "done", 2],
      [1, "waiting", 2],
    ],
    { do: "release", batch: 1 },
  ],
  [
    "one failed canary stops everything, whatever else may fail",
    { rollout: { ...usual, canary: 1, failures: 10 } },
    [
      [0, "failed", 1],
      [1, "waiting", 9],
    ],
    { do: "pause", reason: "1 of 1 canary nodes failed" },
  ],
  [
    "as many failures as allowed",
    { rollout: { ...usual, failures: "25%", settleSeconds: 0 } },
    [
      [0, "failed", 2],
      [1, "waiting", 6],
    ],
    { do: "release", batch: 1 },
  ],
  [
    "one more pauses, also while others run",
    { rollout: { ...usual, failures: "25%" } },
    [
      [0, "failed", 3],
      [0, "running", 1],
      [1, "waiting", 4],
    ],
    { do: "pause", reason: "3 of 8 nodes failed, 2 may" },
  ],
  [
    "nodes whose health is asked for are asked once they have settled",
    { rollout: { ...usual, settleSeconds: 10, health: ["port:22"] } },
    [
      [0, "done", 2],
      [1, "waiting", 2],
    ],
    { do: "check", batch: 0 },
  ],
  [
    "asked, the next begins",
    {
      rollout: { ...usual, health: ["port:22"] },
      health: { batch: 0, jobs: [], endedAt: at(99_000), healthy: 2, of: 2 },
    },
    [
      [0, "done", 2],
      [1, "waiting", 2],
    ],
    { do: "release", batch: 1 },
  ],
  [
    "those of the last batch are asked too",
    {
      rollout: { ...usual, settleSeconds: 10, health: ["port:22"] },
      health: { batch: 0, jobs: [], endedAt: at(9000), healthy: 2, of: 2 },
    },
    [
      [0, "done", 2],
      [1, "done", 1],
      [1, "failed", 1],
    ],
    { do: "check", batch: 1 },
  ],
  [
    "where all of the last batch failed nobody is asked",
    { rollout: { ...usual, settleSeconds: 10, health: ["port:22"] } },
    [
      [0, "done", 2],
      [1, "failed", 1],
    ],
    { do: "nothing" },
  ],
  [
    "nor in a job that was cancelled",
    { rollout: { ...usual, settleSeconds: 10, health: ["port:22"] }, cancelledBy: "ada" },
    [[0, "done", 2]],
    { do: "nothing" },
  ],
  [
    "what was forgiven counts no more",
    { rollout: { ...usual, canary: 1 }, forgiven: { failures: 1, batch: 0 } },
    [
      [0, "failed", 1],
      [1, "waiting", 7],
    ],
    { do: "release", batch: 1 },
  ],
  [
    "what fails after that does",
    { rollout: usual, forgiven: { failures: 1, batch: 0 } },
    [
      [0, "failed", 1],
      [1, "failed", 1],
      [2, "waiting", 6],
    ],
    { do: "pause", reason: "2 of 8 nodes failed, 0 may since it was resumed after 1" },
  ],
  [
    "cancelled nodes are no failures",
    { rollout: { ...usual, settleSeconds: 0 } },
    [
      [0, "cancelled", 3],
      [1, "waiting", 1],
    ],
    { do: "release", batch: 1 },
  ],
];
for (const [title, job, counts, step] of steps) {
  test(`step: ${title}`, (t) => {
    const given = counts.map(([batch, state, count]) => ({ batch, state, count }));
    const ended = () => ({ at: at(90_000), silent: [] });
    t.deepEqual(nextStep(job, given, ended, at(100_000)) as object, step);
  });
}

test("a node of the batch before that fell silent fails", (t) => {
  const counts = [
    { batch: 0, state: "done", count: 2 },
    { batch: 1, state: "waiting", count: 2 },
  ] as const;
  const silent = ["task_1", "task_2"] as TaskId[];
  t.deepEqual(
    nextStep({ rollout: usual }, counts, () => ({ at: at(0), silent }), at(9e9)),
    {
      do: "fail",
      tasks: silent,
      reason: "offline",
    },
  );
});

const spots = (text: string) =>
  text.split(" ").map((name) => ({
    name,
    rack: "lab",
    stack: name[0] ?? "",
    outlet: `${name[0]}${Math.ceil(Number(name[1]) / 2)}`,
  }));
const limits = [
  ["one per stack", { perStack: 1 }, "a1 a2 b1 b2", "", "a1 b1"],
  ["one per stack, one is busy", { perStack: 1 }, "a2 b1 b2", "a1", "b1"],
  ["one per outlet", { perOutlet: 1 }, "a1 a2 a3 b1", "", "a1 a3 b1"],
  ["three per rack", { perRack: 3 }, "a1 a2 b1 b2", "a3", "a1 a2"],
  [
    "three per rack and one per stack",
    { perRack: 3, perStack: 1 },
    "a1 a2 b1 c1 d1",
    "",
    "a1 b1 c1",
  ],
  ["none", {}, "a1 a2", "a3", "a1 a2"],
] as const;
for (const [title, limit, waiting, busy, expected] of limits) {
  test(`limits: ${title}`, (t) => {
    const found = withinLimits({ ...usual, ...limit }, spots(waiting), busy ? spots(busy) : []);
    t.is(found.map(({ name }) => name).join(" "), expected);
  });
}
