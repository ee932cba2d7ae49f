import { createHmac } from "node:crypto";
import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import {
  type Answer,
  type Beat,
  decodeAnswer,
  decodeBeat,
  encodeAnswer,
  encodeBeat,
  type Mac,
  macOctets,
  wants,
} from "#protocol/heartbeat.ts";

const macBy =
  (key: string): Mac =>
  (octets) =>
    createHmac("sha256", key).update(octets).digest().subarray(0, macOctets);
const ours = macBy("ours");
const theirs = macBy("theirs");

const beat: Beat = {
  counter: 7,
  round: "000102030405060708090a0b0c0d0e0f",
  nodeId: "node_1",
  having: "task_1:2:reboot",
};
const answer: Answer = { counter: 7, round: beat.round, serial: 3, wants: wants.assignment };

test("a beat is laid out as its drawing says", (t) => {
  const head = "4d424231 0000000000000007 000102030405060708090a0b0c0d0e0f";
  const body = Buffer.from("node_1\ntask_1:2:reboot").toString("hex");
  const octets = Uint8Array.fromHex(head.replaceAll(" ", "") + body);
  const mac = ours(octets).toHex();
  t.is(encodeBeat(beat, ours).toHex(), octets.toHex() + mac);
});

test("an answer is laid out as its drawing says", (t) => {
  const text = "4d424131 0000000000000007 000102030405060708090a0b0c0d0e0f 00000003 01";
  const octets = Uint8Array.fromHex(text.replaceAll(" ", ""));
  t.is(encodeAnswer(answer, ours).toHex(), octets.toHex() + ours(octets).toHex());
});

test("an answer is shorter than any beat of a node, so that nothing is amplified", (t) => {
  const shortest = encodeBeat({ ...beat, nodeId: `node_${"0".repeat(36)}`, having: "" }, ours);
  t.true(encodeAnswer(answer, ours).length < shortest.length);
});

const text = fc.stringMatching(/^[A-Za-z0-9_:-]{1,60}$/);
const head = { counter: fc.maxSafeNat(), round: fc.stringMatching(/^[0-9a-f]{32}$/) };

testProp(
  "a beat comes back as it was, for whoever has the key",
  [fc.record({ ...head, nodeId: text, having: text })],
  (t, value) => {
    const sealed = decodeBeat(encodeBeat(value, ours));
    t.deepEqual(sealed?.message, value);
    t.true(sealed?.isGenuine(ours));
    t.false(sealed?.isGenuine(theirs));
  },
);

testProp(
  "an answer comes back as it was, for whoever has the key",
  [fc.record({ ...head, serial: fc.nat(0xffff_ffff), wants: fc.nat(255) })],
  (t, value) => {
    const sealed = decodeAnswer(encodeAnswer(value, ours));
    t.deepEqual(sealed?.message, value);
    t.true(sealed?.isGenuine(ours));
    t.false(sealed?.isGenuine(theirs));
  },
);

testProp(
  "a beat with one bit turned is not genuine",
  [fc.nat(encodeBeat(beat, ours).length * 8 - 1)],
  (t, bit) => {
    const octets = encodeBeat(beat, ours);
    octets[bit >> 3] = (octets[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    t.not(decodeBeat(octets)?.isGenuine(ours), true);
  },
);

testProp("any octets are a message or none", [fc.uint8Array({ maxLength: 300 })], (t, octets) => {
  t.not(decodeBeat(octets)?.isGenuine(ours), true);
  t.not(decodeAnswer(octets)?.isGenuine(ours), true);
});
