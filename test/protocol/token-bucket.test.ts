import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { milliseconds } from "#protocol/brand.ts";
import { createTokenBuckets } from "#protocol/token-bucket.ts";

test("a full bucket gives its burst, then its rate", (t) => {
  const buckets = createTokenBuckets({ burst: 2, perSecond: 1, sources: 8 });
  const taken = [0, 0, 0, 500, 1000, 1000].map((at) => buckets.take("a", milliseconds(at)));
  t.deepEqual(taken, [true, true, false, false, true, false]);
});

test("of more sources than are kept, the longest unused is forgotten", (t) => {
  const buckets = createTokenBuckets({ burst: 1, perSecond: 0, sources: 2 });
  const at = milliseconds(0);
  for (const source of ["a", "b", "c"]) t.true(buckets.take(source, at));
  t.false(buckets.take("c", at));
  t.true(buckets.take("a", at));
});

testProp(
  "never more is given than burst and rate allow",
  [fc.array(fc.nat({ max: 5000 }), { maxLength: 200 })],
  (t, times) => {
    const buckets = createTokenBuckets({ burst: 3, perSecond: 2, sources: 4 });
    const sorted = times.toSorted((a, b) => a - b);
    const given = sorted.filter((at) => buckets.take("a", milliseconds(at))).length;
    const span = ((sorted.at(-1) ?? 0) - (sorted[0] ?? 0)) / 1000;
    t.true(given <= 3 + 2 * span);
  },
);
