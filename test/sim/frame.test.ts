import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { decodeFrame, encodeTcp, encodeUdp, macKey, tcpFlags } from "../../server/sim/frame.ts";
import { cutFrames } from "../../server/sim/packet-socket.ts";
import { hex } from "../support/vectors.ts";

const ends = {
  sourceMac: hex("b827eb5a0001"),
  destinationMac: hex("ffffffffffff"),
  source: 0,
  destination: 0xffff_ffff,
  sourcePort: 68,
  destinationPort: 67,
};

// RFC 1071 by hand: the words of pseudo header, header and payload add up to ffff with the checksum.
test("UDP over IPv4 with both checksums", (t) => {
  const frame = encodeUdp({
    ...ends,
    source: 0xc0a8_0001,
    destination: 0xc0a8_00c7,
    ttl: 64,
    checksum: true,
    payload: hex("68690a"),
  });
  t.is(frame.subarray(14, 34).toHex(), "4500001f000000004011f8b5c0a80001c0a800c7");
  t.is(words(frame.subarray(14, 34)), 0xffff);
  const pseudo = [...frame.subarray(26, 34), 0, 17, 0, 11];
  t.is(words(Uint8Array.from([...pseudo, ...frame.subarray(34), 0])), 0xffff);
});

test("a Raspberry Pi 3 leaves the UDP checksum 0", (t) => {
  const frame = encodeUdp({ ...ends, ttl: 128, checksum: false, payload: hex("00") });
  t.is(frame.subarray(40, 42).toHex(), "0000");
  t.is(frame[22], 128);
});

test("TCP with the maximum segment size in its SYN", (t) => {
  const frame = encodeTcp({
    ...ends,
    ttl: 64,
    sequence: 0x01020304,
    acknowledgement: 0,
    flags: tcpFlags.syn,
    window: 65535,
    maximumSegment: 1460,
    payload: new Uint8Array(0),
  });
  t.is(frame.subarray(54, 58).toHex(), "020405b4");
  t.like(decodeFrame(frame), { kind: "tcp", sequence: 0x01020304, flags: tcpFlags.syn });
});

testProp(
  "what was encoded is decoded",
  [fc.uint8Array({ maxLength: 1472 }), fc.nat(65535), fc.nat(0xffff_ffff)],
  (t, payload, port, address) => {
    const frame = decodeFrame(
      encodeUdp({
        ...ends,
        source: address,
        destinationPort: port,
        ttl: 64,
        checksum: true,
        payload,
      }),
    );
    t.is(frame?.kind, "udp");
    if (frame?.kind !== "udp") return;
    t.is(frame.source, address);
    t.is(frame.destinationPort, port);
    t.is(frame.payload.toHex(), payload.toHex());
  },
);

testProp("any bytes are a frame or none", [fc.uint8Array({ maxLength: 200 })], (t, bytes) => {
  const frame = decodeFrame(bytes);
  t.true(frame === undefined || ["arp", "udp", "tcp"].includes(frame.kind));
});

test("fragments are not for boot ROMs", (t) => {
  const frame = encodeUdp({ ...ends, ttl: 64, checksum: false, payload: hex("0102") });
  frame[20] = 0x20; // more fragments
  t.is(decodeFrame(frame), undefined);
});

test("a hardware address as a key", (t) => {
  t.is(macKey(hex("b827eb5a0001")), 0xb827eb5a0001);
});

test("datagrams that came as one long frame are cut as the wire would have them", (t) => {
  const payload = Uint8Array.from({ length: 25 }, (_, index) => index);
  const frame = encodeUdp({ ...ends, ttl: 64, checksum: false, payload });
  const slot = Uint8Array.from([...hex("0105 2a00 0a00 0000 0000"), ...frame]);
  const pieces = cutFrames(slot).map(decodeFrame);
  t.deepEqual(
    pieces.map((piece) => (piece?.kind === "udp" ? [...piece.payload] : [])),
    [[...payload.subarray(0, 10)], [...payload.subarray(10, 20)], [...payload.subarray(20)]],
  );
  const single = Uint8Array.from([...new Uint8Array(10), ...frame]);
  t.is(cutFrames(single).length, 1);
});

function words(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let sum = 0;
  for (let at = 0; at + 1 < bytes.length; at += 2) sum += view.getUint16(at);
  return (sum & 0xffff) + (sum >>> 16);
}
