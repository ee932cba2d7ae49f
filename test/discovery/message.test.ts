import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { groupOnIpv6, isGroup, maxDiscoveryOctets } from "#protocol/discovery.ts";
import {
  decodeAnswer,
  decodeQuestion,
  encodeMessage,
} from "../../server/discovery/shared/message.ts";
import { bytesOf, nonce } from "./support.ts";

// MarcoPolo's message names, with both spellings its clients use; unknown members are skipped.
const questions = [
  ["Marco", { Command: "Marco", Nonce: nonce }, { Command: "Marco", Nonce: nonce }],
  ["Discover", { Command: "Discover", Nonce: nonce }, { Command: "Marco", Nonce: nonce }],
  ["Services", { Command: "Services", Nonce: nonce }, { Command: "Services", Nonce: nonce }],
  [
    "Request-For",
    { Command: "Request-For", Params: "marcoboot", Nonce: nonce, Auth: "" },
    { Command: "Request-For", Params: "marcoboot", Nonce: nonce },
  ],
  [
    "Marco with the time there is",
    { Command: "Marco", Nonce: nonce, Within: 1200 },
    { Command: "Marco", Nonce: nonce, Within: 1200 },
  ],
  [
    "Marco with all the time of the world",
    { Command: "Marco", Nonce: nonce, Within: 1e9 },
    { Command: "Marco", Nonce: nonce, Within: 60_000 },
  ],
  [
    "Marco with a time that is none",
    { Command: "Marco", Nonce: nonce, Within: "soon" },
    { Command: "Marco", Nonce: nonce },
  ],
  [
    "Request-for",
    { Command: "Request-for", Params: "deployer", Nonce: nonce },
    { Command: "Request-For", Params: "deployer", Nonce: nonce },
  ],
] as const;
for (const [title, message, question] of questions) {
  test(`the question ${title} is understood`, (t) => {
    t.deepEqual(decodeQuestion(bytesOf(message)), question);
  });
}

const noQuestions = [
  ["nothing", new Uint8Array()],
  ["text that is not JSON", new TextEncoder().encode("Marco")],
  ["octets that are not UTF-8", Uint8Array.of(0x7b, 0xff, 0x7d)],
  ["a list", bytesOf([])],
  ["null", bytesOf(null)],
  ["an answer", bytesOf({ Command: "OK", Nonce: nonce })],
  ["a question without nonce", bytesOf({ Command: "Marco" })],
  ["a nonce that is too short", bytesOf({ Command: "Marco", Nonce: "00" })],
  ["a nonce that is a number", bytesOf({ Command: "Marco", Nonce: 1 })],
  ["a request for nothing", bytesOf({ Command: "Request-For", Nonce: nonce })],
  ["a request for a list", bytesOf({ Command: "Request-For", Params: ["a"], Nonce: nonce })],
  [
    "a service with a very long name",
    bytesOf({ Command: "Request-For", Params: "a".repeat(65), Nonce: nonce }),
  ],
  [
    "more than 4096 octets",
    bytesOf({ Command: "Marco", Nonce: nonce, Params: "a".repeat(maxDiscoveryOctets) }),
  ],
] as const;
for (const [title, message] of noQuestions) {
  test(`${title} is no question`, (t) => {
    t.is(decodeQuestion(message), undefined);
  });
}

const answer = { Command: "OK", Nonce: nonce, Address: "a", Key: "k", Signature: "s" };
const noAnswers = [
  ["a question", { Command: "Marco", Nonce: nonce }],
  ["one that says nothing", answer],
  ["one whose address is a list", { ...answer, Address: ["a"], Params: {} }],
  ["one with a parameter that is an object", { ...answer, Params: { port: {} } }],
  ["one with services that are names", { ...answer, Services: ["a"] }],
  ["one with a service without a name", { ...answer, Services: [{ params: {} }] }],
  ["one whose certificate is a number", { ...answer, Params: {}, Certificate: 1 }],
] as const;
for (const [title, message] of noAnswers) {
  test(`${title} is no answer`, (t) => {
    t.is(decodeAnswer(bytesOf(message)), undefined);
  });
}

test("an answer is read back as it was written", (t) => {
  const polo = { ...answer, Command: "Polo", Params: { port: 1342, live: true } } as const;
  t.deepEqual(decodeAnswer(encodeMessage(polo)), polo);
  const list = {
    ...answer,
    Command: "OK",
    Services: [{ id: "a" }, { id: "b", params: {} }],
  } as const;
  t.deepEqual(decodeAnswer(encodeMessage(list)), list);
});

test("a message never exceeds a datagram", (t) => {
  const large = {
    ...answer,
    Command: "OK",
    Params: { a: "a".repeat(maxDiscoveryOctets) },
  } as const;
  t.throws(() => encodeMessage(large), { instanceOf: RangeError, message: /discovery OK of/ });
});

testProp("any octets are read or refused, never thrown at", [fc.uint8Array()], (t, octets) => {
  t.notThrows(() => [decodeQuestion(octets), decodeAnswer(octets)]);
});

testProp(
  "any JSON is read or refused, never thrown at",
  [
    fc.record(
      {
        Command: fc.oneof(fc.constantFrom("OK", "Polo", "Marco", "Request-For"), fc.jsonValue()),
        Params: fc.jsonValue(),
        Services: fc.jsonValue(),
        Nonce: fc.oneof(fc.constant(nonce), fc.jsonValue()),
        Address: fc.jsonValue(),
        Key: fc.jsonValue(),
        Signature: fc.jsonValue(),
        Certificate: fc.jsonValue(),
      },
      { requiredKeys: [] },
    ),
  ],
  (t, message) => {
    t.notThrows(() => [decodeQuestion(bytesOf(message)), decodeAnswer(bytesOf(message))]);
  },
);

// 239.77.65.82 is 0xef4d4152: its last 28 bits behind the flag of dynamic groups (RFC 3307 §4.3).
test("each mesh has a group of its own by IPv6, of link-local scope", (t) => {
  t.is(groupOnIpv6("239.77.65.82"), "ff12::8f4d:4152");
  t.is(groupOnIpv6("224.0.0.112"), "ff12::8000:70");
});

const groups = [
  ["239.77.65.82", true],
  ["224.0.0.112", true],
  ["240.0.0.1", false],
  ["10.77.0.1", false],
  ["239.77.65.256", false],
  ["239.77.65", false],
  [239, false],
] as const;
for (const [text, is] of groups) {
  test(`${text} is ${is ? "a" : "no"} mesh`, (t) => t.is(isGroup(text), is));
}
