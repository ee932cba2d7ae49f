import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { maxDiscoveryOctets, type ServerParams } from "#protocol/discovery.ts";
import { answerTo, decodeQuestion, encodeAnswer } from "../../server/discovery/codec.ts";
import { PacketError } from "../../server/errors.ts";

const nonce = "00112233445566778899aabbccddeeff";
const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const params: ServerParams = {
  url: "https://10.77.0.1:8443",
  bootUrl: "http://10.77.0.1:8080",
  hostname: "server",
  authority: "-----BEGIN CERTIFICATE-----",
};

// MarcoPolo's message names, with both spellings its clients use; unknown members are skipped.
const questions = [
  ["Marco", { Command: "Marco", Nonce: nonce }, { Command: "Marco", Nonce: nonce }],
  ["Discover", { Command: "Discover", Nonce: nonce }, { Command: "Marco", Nonce: nonce }],
  [
    "Request-For",
    { Command: "Request-For", Params: "marcoboot", Nonce: nonce, Auth: "" },
    { Command: "Request-For", Params: "marcoboot", Nonce: nonce },
  ],
  [
    "Request-for",
    { Command: "Request-for", Params: "deployer", Nonce: nonce },
    { Command: "Request-For", Params: "deployer", Nonce: nonce },
  ],
] as const;
for (const [title, message, question] of questions) {
  test(`the question ${title} is understood`, (t) => {
    t.deepEqual(decodeQuestion(bytes(message)), question);
  });
}

const refused = [
  ["nothing", new Uint8Array()],
  ["text that is not JSON", new TextEncoder().encode("Marco")],
  ["octets that are not UTF-8", Uint8Array.of(0x7b, 0xff, 0x7d)],
  ["a list", bytes([])],
  ["null", bytes(null)],
  ["an answer", bytes({ Command: "OK", Nonce: nonce })],
  ["a question without nonce", bytes({ Command: "Marco" })],
  ["a nonce that is too short", bytes({ Command: "Marco", Nonce: "00" })],
  ["a nonce that is a number", bytes({ Command: "Marco", Nonce: 1 })],
  ["a request for nothing", bytes({ Command: "Request-For", Nonce: nonce })],
  ["a request for a list", bytes({ Command: "Request-For", Params: ["a"], Nonce: nonce })],
  [
    "a service with a very long name",
    bytes({ Command: "Request-For", Params: "a".repeat(65), Nonce: nonce }),
  ],
  [
    "more than 4096 octets",
    bytes({ Command: "Marco", Nonce: nonce, Params: "a".repeat(maxDiscoveryOctets) }),
  ],
] as const;
for (const [title, message] of refused) {
  test(`${title} is no question`, (t) => {
    t.throws(() => decodeQuestion(message), { instanceOf: PacketError });
  });
}

testProp(
  "any octets are a question or refused with PacketError",
  [fc.uint8Array()],
  (t, octets) => {
    try {
      decodeQuestion(octets);
    } catch (error) {
      t.true(error instanceof PacketError);
    }
    t.pass();
  },
);

testProp(
  "any JSON is a question or refused with PacketError",
  [fc.record({ Command: fc.jsonValue(), Params: fc.jsonValue(), Nonce: fc.jsonValue() })],
  (t, message) => {
    try {
      decodeQuestion(bytes(message));
    } catch (error) {
      t.true(error instanceof PacketError);
    }
    t.pass();
  },
);

test("Marco is answered by Polo, Request-For by OK, each with the question's nonce", (t) => {
  const polo = answerTo({ Command: "Marco", Nonce: nonce }, params, "key", "signature");
  t.deepEqual([polo.Command, polo.Nonce], ["Polo", nonce]);
  const ok = answerTo(
    { Command: "Request-For", Params: "marcoboot", Nonce: nonce },
    params,
    "key",
    "signature",
  );
  t.is(ok.Command, "OK");
  t.deepEqual(JSON.parse(new TextDecoder().decode(encodeAnswer(ok))), ok);
});

test("an answer never exceeds a datagram", (t) => {
  const large = { ...params, authority: "a".repeat(maxDiscoveryOctets) };
  const answer = answerTo({ Command: "Marco", Nonce: nonce }, large, "key", "signature");
  t.throws(() => encodeAnswer(answer), { instanceOf: RangeError });
});
