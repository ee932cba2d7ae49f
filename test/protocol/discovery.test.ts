import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { canonicalJson, signedText } from "#protocol/discovery.ts";

test("members are sorted at every depth, arrays keep their order", (t) => {
  t.is(canonicalJson({ b: [2, { d: 1, c: 2 }], a: "x" }), '{"a":"x","b":[2,{"c":2,"d":1}]}');
});

testProp("canonical JSON reads back as the same value", [fc.jsonValue()], (t, value) => {
  t.deepEqual(JSON.parse(canonicalJson(value)), JSON.parse(JSON.stringify(value)));
});

test("the signed text names its purpose and the nonce", (t) => {
  const params = { url: "u", bootUrl: "b", hostname: "h", authority: "a" };
  t.is(
    signedText(params, "00ff"),
    'marcoboot discovery 1\n00ff\n{"authority":"a","bootUrl":"b","hostname":"h","url":"u"}',
  );
});
