import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { decodeDomainSearch, encodeDomainSearch } from "../../server/dhcp/codec/domain-search.ts";
import { PacketError } from "../../server/errors.ts";
import { hex } from "../support/vectors.ts";

// RFC 3397 §2: "eng.apple.com." and "marketing.apple.com."
const published = hex("03656e67 056170706c65 03636f6d 00 096d61726b6574696e67 c004");

test("the list of RFC 3397's example is written with a pointer, and read", (t) => {
  const names = ["eng.apple.com", "marketing.apple.com"];
  t.deepEqual(encodeDomainSearch(names), published);
  t.deepEqual(decodeDomainSearch(published), names);
});

const refused: readonly (readonly [title: string, bytes: string, offset: number])[] = [
  ["a label longer than the option", "05 6162", 0],
  ["a name without an end", "01 61", 2],
  ["half a pointer", "01 61 c0", 2],
  ["a pointer to itself", "c000", 0],
  ["a pointer forward", "c002 01 61 00", 0],
  ["a label of 64 octets", `40 ${"61".repeat(64)} 00`, 0],
];
for (const [title, bytes, offset] of refused) {
  test(`${title} is refused with its offset`, (t) => {
    const error = t.throws(() => decodeDomainSearch(hex(bytes)), { instanceOf: PacketError });
    t.is(error?.offset, offset);
  });
}

test("a label that is too long is the caller's fault", (t) => {
  t.throws(() => encodeDomainSearch([`${"a".repeat(64)}.example`]), { instanceOf: RangeError });
});

testProp(
  "any bytes are read or refused with PacketError",
  [fc.uint8Array({ maxLength: 255 })],
  (t, bytes) => {
    try {
      t.true(Array.isArray(decodeDomainSearch(bytes)));
    } catch (error) {
      t.true(error instanceof PacketError, String(error));
    }
  },
);

const label = fc.stringMatching(/^[a-z0-9-]{1,12}$/);
testProp(
  "names come back as they were",
  [
    fc.array(
      fc.array(label, { minLength: 1, maxLength: 4 }).map((one) => one.join(".")),
      {
        maxLength: 6,
      },
    ),
  ],
  (t, names) => void t.deepEqual(decodeDomainSearch(encodeDomainSearch(names)), names),
);
