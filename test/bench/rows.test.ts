import test from "ava";
import { type Metric, median, rowsOf, significant, tableOf } from "../../scripts/bench/rows.ts";

const throughput: Metric = { name: "throughput", unit: "MB/s", better: "more" };
const latency: Metric = { name: "latency", unit: "ms", better: "less" };

const medians = [
  ["of an odd number is the middle one", [9, 1, 5], 5],
  ["of an even number is the mean of the two in the middle", [4, 1, 3, 2], 2.5],
  ["of one is that one", [7], 7],
] as const;
for (const [title, values, expected] of medians) {
  test(`the median ${title}`, (t) => t.is(median(values), expected));
}

test("there is one row for each metric and peer, with ours divided by the peer's", (t) => {
  const ours = new Map([
    [throughput, [300, 100, 200]],
    [latency, [1]],
  ]);
  const peers = new Map([
    ["one", new Map([[throughput, [50, 100, 400]]])],
    [
      "two",
      new Map([
        [throughput, [400]],
        [latency, [3]],
      ]),
    ],
  ]);
  t.deepEqual(rowsOf(ours, peers), [
    { ...row("throughput", 200, 100, "one", 2, 3), unit: "MB/s", better: "more" },
    { ...row("throughput", 200, 400, "two", 0.5, 1), unit: "MB/s", better: "more" },
    { ...row("latency", 1, 3, "two", 0.333, 1), unit: "ms", better: "less" },
  ]);
});

function row(
  metric: string,
  ours: number,
  peer: number,
  peerName: string,
  ratio: number,
  rounds: number,
) {
  return { metric, ours, peer, peerName, ratio, rounds };
}

test("a peer that got through no measurement has no rows", (t) => {
  t.deepEqual(rowsOf(new Map([[latency, [1]]]), new Map([["gone", new Map()]])), []);
});

test("figures have three digits", (t) => {
  t.is(significant(1234.5), 1230);
  t.is(significant(0.0123456), 0.0123);
});

test("the table has a line for each row, under its heads", (t) => {
  const rows = rowsOf(
    new Map([[latency, [2]]]),
    new Map([["peer 1.0", new Map([[latency, [4]]])]]),
  );
  t.is(
    tableOf(rows),
    [
      "metric   ours  peer            ratio  unit  better",
      "latency  2     4     peer 1.0  0.5    ms    less",
    ].join("\n"),
  );
});
