import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import {
  decodeEncapsulated as decode,
  encodeEncapsulated as encode,
  raspberryPiBoot,
} from "../../server/dhcp/codec/vendor.ts";
import { PacketError } from "../../server/errors.ts";
import { hex, vector } from "../support/vectors.ts";

const codec = { decode, encode };

// raspberrypi/documentation, boot-net.adoc, padded with three blanks: 35 octets.
vector(
  "the Raspberry Pi's option 43",
  codec,
  hex(
    `06 01 03  0a 04 00 50 58 45
     09 17 00 00 14 52617370626572727920506920426f6f74 202020  ff`,
  ),
  raspberryPiBoot,
);
// iPXE's no-pxedhcp, as dnsmasq sends it.
vector("iPXE's no-pxedhcp", codec, hex("b0 01 01 ff"), [[0xb0, hex("01")]]);

test("pads are skipped, and the end may be missing", (t) => {
  t.deepEqual(decode(hex("00 0a 01 07 00")), [[10, hex("07")]]);
});

test("a sub-option longer than the option is refused, with its offset", (t) => {
  const error = t.throws(() => decode(hex("06 01 03 0a 09 00")), { instanceOf: PacketError });
  t.is(error?.offset, 3);
});

testProp(
  "any bytes decode or are refused with PacketError",
  [fc.uint8Array({ maxLength: 255 })],
  (t, bytes) => {
    try {
      decode(bytes);
      t.pass();
    } catch (error) {
      t.true(error instanceof PacketError);
    }
  },
);
