import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { decodeBpdu } from "../../server/doctor/codec/bpdu.ts";
import { decodeQuerier } from "../../server/doctor/codec/igmp.ts";
import { hex } from "../support/vectors.ts";

// From a Linux 6.1 bridge with STP on and a forward delay of 4 s, taken with tcpdump on a port of it.
const bpdu = hex(`
  0180c2000000 8e956f213a97 0026 424203
  0000 00 00 00 80002a28d5650f10 00000000 80002a28d5650f10 8001 0000 1400 0200 0400`);
// From the same bridge as IGMP querier without an address: IGMPv2, with the router alert option.
const query = hex(`
  01005e000001 2a28d5650f10 0800
  46c00020 00004000 01020417 00000000 e0000001 94040000 1164ee9b 00000000`);

test("a configuration BPDU tells its times and its switch", (t) => {
  t.deepEqual(decodeBpdu(bpdu), {
    version: "stp",
    topologyChange: false,
    helloTime: 2,
    forwardDelay: 4,
    bridge: "2a:28:d5:65:0f:10",
  });
});

test("rapid and multiple spanning tree are told apart, and a topology change is seen", (t) => {
  const rapid = Uint8Array.from(bpdu);
  rapid.set([0x02, 0x02, 0x3d], 19); // version 2, type 2, flags with topology change
  t.like(decodeBpdu(rapid), { version: "rstp", topologyChange: true });
  rapid[19] = 3;
  t.like(decodeBpdu(rapid), { version: "mstp" });
});

const others = [
  ["a BPDU cut short", bpdu.subarray(0, 51)],
  ["a topology change notification", hex("0180c2000000 8e956f213a97 0007 424203 0000 00 80")],
  ["another LLC protocol", Uint8Array.from(bpdu, (octet, at) => (at === 14 ? 0xaa : octet))],
  ["a query", query],
  ["nothing", new Uint8Array(0)],
] as const;
for (const [title, frame] of others) {
  test(`no BPDU: ${title}`, (t) => t.is(decodeBpdu(frame), undefined));
}

test("a general query tells who asks", (t) => {
  t.is(String(decodeQuerier(query)), "0.0.0.0");
  const named = Uint8Array.from(query);
  named.set([10, 77, 0, 254], 26);
  t.is(String(decodeQuerier(named)), "10.77.0.254");
});

test("a report is no query", (t) => {
  const report = Uint8Array.from(query, (octet, at) => (at === 38 ? 0x16 : octet));
  t.is(decodeQuerier(report), undefined);
  t.is(decodeQuerier(query.subarray(0, 41)), undefined);
});

testProp(
  "any frame is decoded or passed over",
  [fc.uint8Array({ maxLength: 90 }), fc.boolean()],
  (t, bytes, isBpdu) => {
    const frame = Uint8Array.from([...(isBpdu ? bpdu : query).subarray(0, 17), ...bytes]);
    t.notThrows(() => [decodeBpdu(frame), decodeQuerier(frame)]);
  },
);
