import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import type { ImageFormat } from "#protocol/image.ts";
import { detectFormat, formats } from "../../images/formats/registry.ts";
import { ImageInvalidError } from "../../server/errors.ts";
import { goodEntries, type TarEntry, tarOf } from "./tar.ts";

/** Feeds `bytes` in pieces of `piece` octets. */
function check(format: ImageFormat, bytes: Uint8Array, piece = 65536): void {
  const running = formats[format].startCheck();
  for (let at = 0; at < bytes.length; at += piece) running.write(bytes.subarray(at, at + piece));
  running.end();
}

function disk(sectors: number): Buffer {
  const bytes = Buffer.alloc(sectors * 512, 0xee);
  bytes.set([0x55, 0xaa], 510);
  return bytes;
}

const good = tarOf(goodEntries);

for (const piece of [1, 7, 511, 512, 513, 65536]) {
  test(`a disk and a root file system are accepted in pieces of ${piece} octets`, (t) => {
    t.notThrows(() => check("raw", disk(3), piece));
    t.notThrows(() => check("rootfs-tar", good, piece));
  });
}

test("the format is told from the first sector", (t) => {
  t.is(detectFormat(disk(1)), "raw");
  t.is(detectFormat(good.subarray(0, 512)), "rootfs-tar");
  t.is(detectFormat(new Uint8Array(512)), undefined);
  t.is(detectFormat(new Uint8Array()), undefined);
});

const badDisks = [
  ["no octet", Buffer.alloc(0), /whole number/],
  ["half a sector", disk(1).subarray(0, 511), /511 octets/],
  ["a sector and one octet", disk(2).subarray(0, 513), /513 octets/],
  ["no boot signature", Buffer.alloc(1024), /not 55aa/],
] as const;
for (const [title, bytes, message] of badDisks) {
  test(`a disk image with ${title} is refused`, (t) => {
    t.throws(() => check("raw", bytes), { instanceOf: ImageInvalidError, message });
  });
}

const with_ = (...more: readonly TarEntry[]) => tarOf([...goodEntries, ...more]);

// Test F58 of the reliability plan.
const badArchives = [
  ["an absolute name", with_({ path: "/etc/passwd", content: "x" }), /absolute/],
  ["a name that leads upwards", with_({ path: "../x", content: "x" }), /upwards/],
  ["a name that leads upwards inside", with_({ path: "etc/../../x", content: "x" }), /upwards/],
  [
    "a file written through its own symbolic link",
    with_({ path: "out", type: "2", link: "/tmp" }, { path: "out/x", content: "x" }),
    /passes through the symbolic link "out"/,
  ],
  [
    "a file written through a relative symbolic link, with another spelling",
    with_({ path: "./a/out", type: "2", link: "../.." }, { path: "a//./out/b/x", content: "x" }),
    /passes through/,
  ],
  [
    "a file in place of a symbolic link",
    with_({ path: "a", type: "2", link: "/etc/shadow" }, { path: "./a", content: "x" }),
    /replaces a symbolic link/,
  ],
  ["a hard link out", with_({ path: "a", type: "1", link: "../etc/shadow" }), /hard link/],
  ["an absolute hard link", with_({ path: "a", type: "1", link: "/etc/shadow" }), /hard link/],
  ["a block device", with_({ path: "dev/sda", type: "4" }), /block device/],
  ["a character device outside dev", with_({ path: "tmp/mem", type: "3" }), /character device/],
  ["a FIFO", with_({ path: "run/pipe", type: "6" }), /FIFO/],
  ["a wrong checksum", with_({ path: "a", badChecksum: true }), /checksum/],
  ["a link without target", with_({ path: "a", type: "2" }), /without target/],
  ["a name of 200 directories", with_(pax("a/".repeat(200)), { path: "x" }), /deeper/],
  ["no os-release", tarOf([{ path: "etc/hosts", content: "x" }]), /os-release/],
  ["no end marker", tarOf(goodEntries, false), /end marker/],
  ["something after its end marker", Buffer.concat([good, Buffer.alloc(512, 1)]), /goes on/],
  ["a file in place of the root", with_({ path: "./.", content: "x" }), /root directory/],
  [
    "a symbolic link with content",
    with_({ path: "a", type: "2", link: "b", content: "x" }),
    /size/,
  ],
  ["an unknown type", with_({ path: "a", type: "S" }), /unknown type "S"/],
  ["holes in the dialect of pax", with_(pax("1", "GNU.sparse.major"), { path: "a" }), /holes/],
  [
    "an extended header without end",
    with_({ path: "p", type: "x", content: "99 path=a\n" }),
    /read/,
  ],
  [
    "an extended header of gigabytes",
    with_({ path: "p", type: "x", size: "77777777777\0" }),
    /header of/,
  ],
  [
    "a cut in a file's content",
    tarOf([...goodEntries, { path: "a", content: "x".repeat(3000) }]).subarray(0, -3072),
    /cut off/,
  ],
  ["gzip inside", Buffer.from("1f8b0800000000000003", "hex"), /no header/],
  ["another beginning", Buffer.alloc(1024, 7), /not a tar/],
] as const;
for (const [title, bytes, message] of badArchives) {
  test(`F58: an archive with ${title} is refused`, (t) => {
    t.throws(() => check("rootfs-tar", bytes), { instanceOf: ImageInvalidError, message });
  });
}

/** A pax header that gives the next entry its name, or something else. */
function pax(value: string, keyword = "path"): TarEntry {
  const body = ` ${keyword}=${value}\n`;
  const length = body.length + String(body.length + 3).length;
  return { path: "pax", type: "x", content: `${length}${body}` };
}

test("a name given by a pax header is checked like any other", (t) => {
  const bytes = with_(pax("../../etc/passwd"), { path: "harmless", content: "x" });
  t.throws(() => check("rootfs-tar", bytes), { instanceOf: ImageInvalidError, message: /upwards/ });
});

testProp(
  "an archive cut anywhere is refused",
  [fc.nat({ max: good.length - 1025 })],
  (t, length) => {
    t.throws(() => check("rootfs-tar", good.subarray(0, length)), {
      instanceOf: ImageInvalidError,
    });
  },
);

testProp(
  "an archive with any one octet changed is accepted or refused, and nothing else",
  [fc.nat({ max: good.length - 1 }), fc.integer({ min: 1, max: 255 })],
  (t, at, change) => {
    const bytes = Buffer.from(good);
    bytes[at] = (bytes[at] ?? 0) ^ change;
    try {
      check("rootfs-tar", bytes);
    } catch (error) {
      t.true(error instanceof ImageInvalidError, String(error));
    }
    t.pass();
  },
);
