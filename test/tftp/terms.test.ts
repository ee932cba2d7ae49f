import test from "ava";
import { decodePacket, encodePacket, type TftpOptions } from "../../server/tftp/codec.ts";
import { toNetascii } from "../../server/tftp/netascii.ts";
import { planTransfer } from "../../server/tftp/terms.ts";

const negotiations: readonly (readonly [
  title: string,
  asked: TftpOptions,
  mtu: number,
  granted: TftpOptions,
])[] = [
  ["nothing is granted when nothing is asked", [], 1500, []],
  ["the least block", [["blksize", "8"]], 1500, [["blksize", "8"]]],
  ["a block too small is ignored", [["blksize", "7"]], 1500, []],
  ["a block beyond RFC 2348 is ignored", [["blksize", "65465"]], 1500, []],
  ["a block is cut to the MTU", [["blksize", "65464"]], 1500, [["blksize", "1468"]]],
  ["a jumbo frame carries more", [["blksize", "65464"]], 9000, [["blksize", "8968"]]],
  ["a block that is no number is ignored", [["blksize", "1e3"]], 1500, []],
  ["the size is told", [["tsize", "0"]], 1500, [["tsize", "1000"]]],
  ["a timeout is taken over", [["timeout", "3"]], 1500, [["timeout", "3"]]],
  ["a timeout of 0 is ignored", [["timeout", "0"]], 1500, []],
  ["a timeout of 256 is ignored", [["timeout", "256"]], 1500, []],
  ["a window as EDK2 asks it", [["windowsize", "4"]], 1500, [["windowsize", "4"]]],
  ["a window of 0 is ignored", [["windowsize", "0"]], 1500, []],
  ["a window is cut to 128 KiB", [["windowsize", "65535"]], 1500, [["windowsize", "256"]]],
  ["a window of small blocks is cut to 512", [["blksize", "8"], ["windowsize", "2000"]], 1500, [["blksize", "8"], ["windowsize", "512"]]], // biome-ignore format: a row
  ["an unknown option is left out", [["multicast", ""]], 1500, []],
  ["an option without a value is ignored", [["blksize", ""]], 1500, []],
  ["a value with a sign is ignored", [["blksize", "+512"]], 1500, []],
  ["a value with a blank is ignored", [["blksize", " 512"]], 1500, []],
  ["a repeated option counts once", [["blksize", "600"], ["blksize", "700"]], 1500, [["blksize", "600"]]], // biome-ignore format: a row
  ["a tsize that is no number is ignored", [["tsize", "all"]], 1500, []],
  ["a good option beside a bad one", [["blksize", "0"], ["tsize", "0"]], 1500, [["tsize", "1000"]]], // biome-ignore format: a row
  ["all of RFC 2347-2349 and 7440 at once", [["blksize", "1024"], ["timeout", "1"], ["windowsize", "16"], ["tsize", "0"]], 1500, [["blksize", "1024"], ["timeout", "1"], ["windowsize", "16"], ["tsize", "1000"]]], // biome-ignore format: a row
];
for (const [title, asked, mtu, granted] of negotiations) {
  test(`options: ${title}`, (t) =>
    t.deepEqual(planTransfer({ options: asked }, 1000, mtu).granted, granted));
}

test("options: names are heard in any case", (t) => {
  const options: TftpOptions = [["BlkSize", "1024"]];
  const sent = encodePacket({ kind: "read", name: "f", mode: "OCTET", options });
  const packet = decodePacket(sent);
  t.is(packet.kind === "read" && packet.mode, "octet");
  t.deepEqual(packet.kind === "read" && planTransfer(packet, 1000, 1500).granted, [
    ["blksize", "1024"],
  ]);
});

test("netascii: LF becomes CR LF, CR becomes CR NUL", (t) => {
  t.is(Buffer.from(toNetascii(Buffer.from("a\nb\rc"))).toString(), "a\r\nb\r\0c");
});
