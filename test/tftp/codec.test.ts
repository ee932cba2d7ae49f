import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { PacketError } from "../../server/errors.ts";
import { decodePacket, encodePacket, type TftpPacket } from "../../server/tftp/codec.ts";
import { hex, vector } from "../support/vectors.ts";

const codec = { decode: decodePacket, encode: encodePacket };
const ascii = (text: string) => new TextEncoder().encode(text);

// RFC 1350 §5, figure 5-1.
vector("read request", codec, ascii("\0\x01bootcode.bin\0octet\0"), {
  kind: "read",
  name: "bootcode.bin",
  mode: "octet",
  options: [],
});
vector("write request", codec, ascii("\0\x02x\0netascii\0"), {
  kind: "write",
  name: "x",
  mode: "netascii",
  options: [],
});
// EDK2's second request, boot-facts §3 (edk2-x64-pxe-then-ipxe.pcap).
vector(
  "request with block size and window",
  codec,
  ascii("\0\x01ipxe-x64.efi\0octet\0blksize\x001468\0windowsize\x004\0"),
  {
    kind: "read",
    name: "ipxe-x64.efi",
    mode: "octet",
    options: [
      ["blksize", "1468"],
      ["windowsize", "4"],
    ],
  },
);
// RFC 1350 §5, figures 5-2 to 5-4; RFC 2347.
vector("data", codec, hex("0003 ffff 010203"), {
  kind: "data",
  block: 65535,
  bytes: hex("010203"),
});
vector("last, empty data", codec, hex("0003 0001"), { kind: "data", block: 1, bytes: hex("") });
vector("acknowledgement", codec, hex("0004 0100"), { kind: "ack", block: 256 });
vector("error", codec, ascii("\0\x05\0\x01file not found\0"), {
  kind: "error",
  code: 1,
  message: "file not found",
});
vector("option acknowledgement", codec, ascii("\0\x06tsize\x0096205380\0"), {
  kind: "option-ack",
  options: [["tsize", "96205380"]],
});

test("mode and option names are read without regard to case", (t) => {
  const packet = decodePacket(ascii("\0\x01A.Bin\0OcTeT\0BlkSize\x001024\0"));
  t.deepEqual(packet, {
    kind: "read",
    name: "A.Bin",
    mode: "octet",
    options: [["blksize", "1024"]],
  });
});

test("an option without a value is left out", (t) => {
  const packet = decodePacket(ascii("\0\x01a\0octet\0tsize\x000\0blksize\0"));
  t.deepEqual(packet.kind === "read" && packet.options, [["tsize", "0"]]);
});

test("an error message without its final zero is read", (t) => {
  const packet = decodePacket(ascii("\0\x05\0\x08aborted"));
  t.deepEqual(packet, { kind: "error", code: 8, message: "aborted" });
});

const refused = [
  ["nothing", "", 0],
  ["an unknown opcode", "0009 0000", 0],
  ["an empty name", "0001 00 6f6374657400", 2],
  ["a request without mode", "0001 6100", 4],
  ["an ACK without block", "0004 01", 2],
  ["a request of more than 512 octets", `0001 ${"61".repeat(511)}`, 512],
] as const;
for (const [title, bytes, offset] of refused) {
  test(`${title} is refused with its offset`, (t) => {
    const error = t.throws(() => decodePacket(hex(bytes)), { instanceOf: PacketError });
    t.is(error?.offset, offset);
  });
}

testProp(
  "any bytes decode or are refused with PacketError",
  [fc.uint8Array({ maxLength: 600 })],
  (t, bytes) => {
    try {
      decodePacket(bytes);
    } catch (error) {
      t.true(error instanceof PacketError, String(error));
    }
    t.pass();
  },
);

const word = fc.stringMatching(/^[a-z0-9./_-]{1,20}$/);
const uint16 = fc.integer({ min: 0, max: 65535 });
const packets: fc.Arbitrary<TftpPacket> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("read" as const, "write" as const),
    name: word,
    mode: word,
    options: fc.array(fc.tuple(word, word), { maxLength: 6 }),
  }),
  fc.record({
    kind: fc.constant("data" as const),
    block: uint16,
    bytes: fc.uint8Array({ maxLength: 64 }),
  }),
  fc.record({ kind: fc.constant("ack" as const), block: uint16 }),
  fc.record({ kind: fc.constant("error" as const), code: uint16, message: word }),
);
testProp("what is encoded decodes to the same", [packets], (t, packet) => {
  t.deepEqual(decodePacket(encodePacket(packet)), packet);
});
