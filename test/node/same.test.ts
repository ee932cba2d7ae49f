import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { canonicalJson } from "#protocol/discovery.ts";
import { isSame } from "../../server/node/same.ts";

const table = [
  ["members in another order", { a: 1, b: { c: 2, d: 3 } }, { b: { d: 3, c: 2 }, a: 1 }, true],
  ["a member that is undefined", { a: 1, b: undefined }, { a: 1 }, true],
  ["a member more", { a: 1 }, { a: 1, b: 2 }, false],
  ["another order of a list", [1, 2], [2, 1], false],
  ["a list and an object with its members", ["x"], { 0: "x" }, false],
  ["nothing and an empty object", null, {}, false],
] as const;
for (const [title, a, b, expected] of table) {
  test(title, (t) => {
    t.is(isSame(a, b), expected);
    t.is(isSame(b, a), expected);
  });
}

const documents = fc.letrec((tie) => ({
  document: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom(0, 1, "", "x", true, null),
    fc.array(tie("document"), { maxLength: 2 }),
    fc.dictionary(fc.constantFrom("a", "b", "c"), tie("document"), { maxKeys: 2 }),
  ),
})).document;
testProp("it says what canonical JSON says", [documents, documents], (t, a, b) => {
  t.is(isSame(a, b), canonicalJson(a) === canonicalJson(b));
});
