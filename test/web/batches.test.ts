import test from "ava";
import type { Task, TaskState } from "#protocol/job.ts";
import { batchesOf } from "../../web/state/batches.ts";

const tasks = (text: string): readonly Task[] =>
  text.split(" ").flatMap((word) => {
    const [batch, state, count = "1"] = word.split("-");
    return Array.from({ length: Number(count) }, (_, index) => ({
      id: `${word} ${index}`,
      batch: Number(batch),
      state: state as TaskState,
    })) as unknown as Task[];
  });

const rows = [
  ["a small job shows every task", "0-done-2 0-waiting", [[undefined, "1 waiting, 2 done", 3]]],
  [
    "batches that wait or are done show their counts only",
    "0-done-2 1-running 1-queued 2-waiting-2",
    [
      ["Batch 1", "2 done", 0],
      ["Batch 2", "1 queued, 1 running", 2],
      ["Batch 3", "2 waiting", 0],
    ],
  ],
  [
    "of many tasks those are shown that need a look, failed ones first",
    "0-done-40 0-running-2 0-failed-3",
    [["Batch 1", "2 running, 40 done, 3 failed", 5]],
  ],
] as const;
for (const [title, text, expected] of rows) {
  test(title, (t) => {
    t.deepEqual(
      batchesOf(tasks(text)).map(({ name, counts, shown }) => [name, counts, shown.length]),
      expected as never,
    );
  });
}

test("failed tasks come first", (t) => {
  const [batch] = batchesOf(tasks("0-running-13 0-failed"));
  t.is(batch?.shown[0]?.state, "failed");
  t.is(batch?.shown.length, 12);
});
