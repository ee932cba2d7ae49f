import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { canonicalJson, signedText } from "#protocol/discovery.ts";

test("members are sorted at every depth, arrays keep their order", (t) => {
  t.is(canonicalJson({ b: [2, { d: 1, c: 2 }], a: "x" }), '{"a":"x","b":[2,{"c":2,"d":1}]}');
});

testProp("canonical JSON reads back as the same value", [fc.jsonValue()], (t, value) => {
  t.deepEqual(JSON.parse(canonicalJson(value)), JSON.parse(JSON.stringify(value)));
});

test("the signed text names its purpose, the question with its nonce, and who says what", (t) => {
  const question = {
    Command: "Request-For",
    Params: "deployer",
    Nonce: "00ff",
    Within: 1200, // not signed: each repetition may give another time
  } as const;
  t.is(
    signedText(question, { Address: "10.77.0.1", Params: { port: 1342 } }),
    'marcoboot discovery 2\n{"Address":"10.77.0.1","Params":{"port":1342},' +
      '"question":{"Command":"Request-For","Nonce":"00ff","Params":"deployer"}}',
  );
});
