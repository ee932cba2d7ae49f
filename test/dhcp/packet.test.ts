import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import {
  type MessageType,
  messageTypes,
  option,
  readMessageType,
  readOption,
} from "../../server/dhcp/codec/options.ts";
import { decodePacket, encodePacket, isWithinMaximum } from "../../server/dhcp/codec/packet.ts";
import { PacketError } from "../../server/errors.ts";
import { corpus, fixtures, message } from "../support/dhcp.ts";
import { hex } from "../support/vectors.ts";

/** Header of a BOOTREQUEST, magic cookie included; sname and file as given. */
function header(sname = "", file = ""): string {
  return `01010600 26f30339 0000 0000 ${"00".repeat(16)} b827eb345678${"00".repeat(10)}
    ${sname.padEnd(128, "0")} ${file.padEnd(256, "0")} 63825363`;
}
const empty = header().replace(/\s/g, "");

for (const [name, bytes] of corpus()) {
  test(`corpus: ${name}: decodes and encodes to equal values`, (t) => {
    const packet = decodePacket(bytes);
    t.not(readMessageType(packet.options), undefined);
    t.deepEqual(decodePacket(encodePacket(packet)), packet);
    t.true(encodePacket(packet).length >= 300);
  });
  test(`corpus: ${name}: cut at any length it decodes or is refused with PacketError`, (t) => {
    for (let length = 0; length < bytes.length; length++) {
      try {
        decodePacket(bytes.subarray(0, length));
      } catch (error) {
        t.true(error instanceof PacketError, `at length ${length}: ${error}`);
      }
    }
    t.pass();
  });
}

for (const [index, fixture] of fixtures.entries()) {
  test(`fixture ${index} ${fixture.client} ${fixture.type}: every option has the listed octets`, (t) => {
    const { options } = decodePacket(hex(fixture.hex));
    const found = [...options].map(([code, value]) => [String(code), value.toHex()] as const);
    t.deepEqual(Object.fromEntries(found), fixture.options);
    const type = readMessageType(options) as MessageType;
    t.is(type.toUpperCase(), fixture.type);
  });
}

test("the header's fields are where RFC 2131 figure 1 has them", (t) => {
  const packet = decodePacket(
    hex(
      `02 01 06 03 11223344 0005 8000 0a000001 0a000002 0a000003 0a000004
       dca632010203 ${"00".repeat(10)} ${"7372763100".padEnd(128, "0")}
       ${"626f6f742e62696e00".padEnd(256, "0")} 63825363 350102 ff`,
    ),
  );
  t.like(packet, { operation: "reply", hops: 3, xid: 0x11223344, secs: 5, flags: 0x8000 });
  t.deepEqual([packet.ciaddr, packet.yiaddr, packet.siaddr, packet.giaddr].map(String), [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.4",
  ]);
  t.is(packet.sname, "srv1");
  t.is(packet.file, "boot.bin");
});

test("an option that comes in pieces is joined in order (RFC 3396 §5)", (t) => {
  const { options } = decodePacket(hex(`${header()} 4302 6162 350101 4301 63 ff`));
  t.is(readOption(options, "bootFileName"), "abc");
});

test("a value longer than 255 octets is split, and joined again", (t) => {
  const value = Uint8Array.from({ length: 600 }, (_, index) => index & 0xff);
  const bytes = encodePacket(message("discover", { options: [[224, value]] }));
  t.deepEqual(decodePacket(bytes).options.get(224), value);
  t.is(bytes.subarray(243, 245).toHex(), "e0ff");
});

test("option 52 makes file and sname hold options, in that order (RFC 3396 §7)", (t) => {
  const packet = decodePacket(hex(`${header("4301620c027069ff", "430161ff")} 340103 350101 ff`));
  t.is(readOption(packet.options, "bootFileName"), "ab");
  t.is(readOption(packet.options, "hostName"), "pi");
  t.is(packet.file + packet.sname, "");
  t.false(packet.options.has(52));
  t.deepEqual(decodePacket(encodePacket(packet)), packet);
});

const filler = (code: number, size: number) => [code, new Uint8Array(size).fill(code)] as const;

test("what does not fit behind the header goes into file and sname, and comes back", (t) => {
  const options = [filler(200, 150), filler(201, 100), filler(202, 40)];
  const packet = { ...message("discover", { options }), maximumSize: 420 };
  const bytes = encodePacket(packet);
  t.true(bytes.length <= 420);
  const { maximumSize: _, ...sent } = packet;
  const came = decodePacket(bytes);
  t.deepEqual(new Map([...came.options].sort()), new Map([...sent.options].sort()));
  t.is(isWithinMaximum(packet), true);
});

test("a field that holds a name is not taken for options", (t) => {
  const packet = {
    ...message("discover", { options: [filler(200, 150), filler(201, 60)] }),
    file: "boot.efi",
    maximumSize: 420,
  };
  const came = decodePacket(encodePacket(packet));
  t.is(came.file, "boot.efi");
  t.is(came.options.get(201)?.length, 60);
});

test("option 82 stays behind the others when some are moved (RFC 3046 §2.1)", (t) => {
  const options = [filler(82, 20), filler(200, 120), filler(201, 100)];
  const packet = { ...message("discover", { options }), maximumSize: 420 };
  const bytes = encodePacket(packet);
  t.is(bytes.subarray(bytes.lastIndexOf(82) - 20, bytes.lastIndexOf(82)).length, 20);
  const behind = bytes
    .subarray(240)
    .toHex()
    .indexOf(`5214${"52".repeat(20)}ff`);
  t.true(behind > 0, "the relay's option is followed by the end option");
});

test("a message that no field can make fit is encoded whole, and known to be too long", (t) => {
  const packet = { ...message("discover", { options: [filler(200, 600)] }), maximumSize: 548 };
  t.false(isWithinMaximum(packet));
  t.is(decodePacket(encodePacket(packet)).options.get(200)?.length, 600);
});

testProp(
  "any options come back whole, whatever size the receiver takes",
  [
    fc.uniqueArray(fc.tuple(fc.integer({ min: 60, max: 254 }), fc.uint8Array({ maxLength: 300 })), {
      maxLength: 12,
      selector: ([code]) => code,
    }),
    fc.integer({ min: 548, max: 1472 }),
  ],
  (t, options, maximumSize) => {
    const packet = message("discover", { options });
    const came = decodePacket(encodePacket({ ...packet, maximumSize }));
    const sorted = (one: ReadonlyMap<number, Uint8Array>) =>
      [...one].sort(([a], [b]) => a - b).map(([code, value]) => `${code} ${value.toHex()}`);
    t.deepEqual(sorted(came.options), sorted(packet.options));
  },
);

test("unknown options are kept", (t) => {
  t.deepEqual(decodePacket(hex(`${header()} e002 cafe ff`)).options.get(224), hex("cafe"));
});

test("pads between options and a missing end are accepted", (t) => {
  const { options } = decodePacket(hex(`${header()} 00 350101 0000 0c01 78`));
  t.deepEqual([...options.keys()], [53, 12]);
});

const refused: readonly (readonly [title: string, bytes: string, offset: number])[] = [
  ["an empty datagram", "", 0],
  ["a header cut short", empty.slice(0, 478), 239],
  ["another cookie", empty.replace("63825363", "63825364"), 236],
  ["an option longer than the datagram", `${empty}3d09aa`, 240],
  ["an option without its length", `${empty}3501013d`, 243],
  ["a hardware address of 17 octets", empty.replace("010106", "010111"), 2],
  ["a third BOOTP operation", empty.replace("010106", "030106"), 0],
  ["an overload of 4", `${empty}340104ff`, 240],
];
for (const [title, bytes, offset] of refused) {
  test(`${title} is refused with its offset`, (t) => {
    const error = t.throws(() => decodePacket(hex(bytes)), { instanceOf: PacketError });
    t.is(error?.offset, offset);
  });
}

test("an option of a wrong length is refused when it is read, not before", (t) => {
  const { options } = decodePacket(hex(`${header()} 3203 0a0000 5d01 00 ff`));
  t.throws(() => readOption(options, "requestedAddress"), { instanceOf: PacketError });
  t.throws(() => readOption(options, "clientArchitecture"), { instanceOf: PacketError });
});

test("options are written as RFC 2132 has them", (t) => {
  const written = [
    option("leaseTime", 3600),
    option("messageType", messageTypes.offer),
    option("clientArchitecture", [7, 11]),
    option("bootFileName", "ipxe.efi"),
  ].map(([code, value]) => `${code} ${value.toHex()}`);
  t.deepEqual(written, ["51 00000e10", "53 02", "93 0007000b", "67 697078652e656669"]);
});

testProp(
  "any bytes decode or are refused with PacketError",
  [fc.uint8Array({ maxLength: 600 })],
  (t, bytes) => {
    try {
      decodePacket(bytes);
      t.pass();
    } catch (error) {
      t.true(error instanceof PacketError);
    }
  },
);

testProp(
  "any options behind a good header decode or are refused, and what decodes encodes",
  [fc.uint8Array({ maxLength: 400 })],
  (t, tail) => {
    try {
      const packet = decodePacket(Uint8Array.from([...hex(empty), ...tail]));
      t.deepEqual(decodePacket(encodePacket(packet)), packet);
    } catch (error) {
      t.true(error instanceof PacketError, String(error));
    }
  },
);
