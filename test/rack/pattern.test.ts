import test from "ava";
import { fill } from "../../server/rack/pattern.ts";

const place = { rack: "lab", stack: "a", slot: "3", n: 7 };

const table = [
  ["names", "{rack}-{stack}-{slot}", "lab-a-3"],
  ["the number", "node{n}", "node7"],
  ["leading zeros", "node-{n:03}-{slot:02}", "node-007-03"],
  ["counted from elsewhere", "{n+16}/{n-1}", "23/6"],
  ["both", "{n+16:04}", "0023"],
  ["more digits than asked for", "{n+100:02}", "107"],
  [
    "words for somebody else stay",
    "{outlet} {state} {N} {n:2} {}",
    "{outlet} {state} {N} {n:2} {}",
  ],
] as const;
for (const [title, pattern, filled] of table) {
  test(`pattern: ${title}`, (t) => t.is(fill(pattern, place), filled));
}

test("what belongs to a whole stack has no slot to name", (t) => {
  t.is(fill("{stack}/{slot}", { rack: "lab", stack: "a", n: 1 }), "a/{slot}");
});
