/** The tar reader and writer: against each other, and against GNU tar. */

import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { type TarEntry, TarError, type TarType } from "../../images/tar/entry.ts";
import { createTarReader } from "../../images/tar/reader.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { tarOf } from "./tar.ts";
import { endMarker, headersOf, paddingAfter } from "./tar-writer.ts";

interface Read extends TarEntry {
  readonly content: string;
}

/** Reads an archive in pieces of `piece` octets. */
function read(archive: Buffer, piece = archive.length): readonly Read[] {
  const entries: (TarEntry & { content: string })[] = [];
  const reader = createTarReader({
    entry: (entry) => void entries.push({ ...entry, content: "" }),
    content: (part) => {
      const last = entries.at(-1);
      if (last) last.content += part.toString("latin1");
    },
  });
  for (let at = 0; at < archive.length; at += piece) reader.write(archive.subarray(at, at + piece));
  reader.end();
  return entries;
}

function archiveOf(entries: readonly Read[]): Buffer {
  const parts = entries.flatMap((entry) => {
    const content = Buffer.from(entry.content, "latin1");
    return [headersOf(entry), content, paddingAfter(content.length)];
  });
  return Buffer.concat([...parts, endMarker]);
}

const octets = (max: number) =>
  fc
    .uint8Array({ minLength: 1, maxLength: max })
    .map((bytes) => Buffer.from(bytes).toString("latin1").replaceAll("\0", "x"));
const types: readonly TarType[] = ["file", "link", "symbolic link", "directory", "FIFO"];
const anyEntry: fc.Arbitrary<Read> = fc
  .record({
    path: octets(300).map((path) => path.replaceAll("/", "_")),
    type: fc.constantFrom(...types),
    target: octets(300),
    mode: fc.nat(0o7777),
    uid: fc.nat(0xffff_fffe),
    gid: fc.nat(0xffff_fffe),
    mtime: fc.oneof(
      fc.nat().map(String),
      fc.constantFrom("-1", "1700000000.123456789", "99999999999"),
    ),
    content: octets(2000),
    attributes: fc
      .dictionary(fc.stringMatching(/^[a-z.]{1,20}$/), octets(200), { maxKeys: 3 })
      .map((values) => {
        const records = Object.entries(values);
        return new Map(
          records.map(([name, value]) => [
            `SCHILY.xattr.user.${name}`,
            Buffer.from(value, "latin1"),
          ]),
        );
      }),
  })
  .map((entry) => {
    const content = entry.type === "file" ? entry.content : "";
    const isLink = entry.type === "link" || entry.type === "symbolic link";
    return { ...entry, content, size: content.length, target: isLink ? entry.target : "" };
  });

testProp(
  "what is written is read again, however it is cut",
  [fc.array(anyEntry, { maxLength: 5 }), fc.integer({ min: 1, max: 1500 })],
  (t, entries, piece) => {
    t.deepEqual(read(archiveOf(entries), piece), entries);
  },
);

testProp(
  "any octets are an archive or refused with TarError",
  [fc.uint8Array({ minLength: 512, maxLength: 4096 })],
  (t, bytes) => {
    try {
      read(Buffer.from(bytes));
      t.pass();
    } catch (error) {
      t.true(error instanceof TarError, String(error));
    }
  },
);

function makeTree(directory: string): void {
  mkdirSync(join(directory, "etc"));
  writeFileSync(join(directory, "etc/hosts"), "127.0.0.1 localhost\n", { mode: 0o640 });
  linkSync(join(directory, "etc/hosts"), join(directory, "etc/same"));
  symlinkSync(`/${"t".repeat(150)}`, join(directory, "etc/link"));
  mkdirSync(join(directory, "d".repeat(90), "e".repeat(90)), { recursive: true });
  writeFileSync(join(directory, "d".repeat(90), "e".repeat(90), "é".repeat(40)), "deep\n");
  writeFileSync(Buffer.from(`${directory}/caf\xe9`, "latin1"), "no UTF-8\n");
  for (const name of ["etc/hosts", "etc"]) utimesSync(join(directory, name), 1000, 2000);
}

for (const format of ["gnu", "oldgnu", "posix", "ustar"]) {
  test(`an archive by GNU tar in its format ${format} is read as it was meant`, (t) => {
    const directory = temporaryDirectory(t);
    makeTree(directory);
    const args = ["--sort=name", "--owner=:3000000", "--group=:8", "-C", directory, "-cf", "-"];
    const noLong = format === "ustar" ? ["--exclude=*eeeee*", "--exclude=*link", "--owner=:7"] : [];
    const archive = execFileSync("tar", [`--format=${format}`, ...args, ...noLong, "."]);
    const entries = new Map(read(archive, 700).map((entry) => [entry.path, entry]));
    t.like(entries.get("./etc/hosts"), {
      ...{ type: "file", mode: 0o640, gid: 8, mtime: "2000", size: 20 },
      ...{ uid: format === "ustar" ? 7 : 3_000_000, content: "127.0.0.1 localhost\n" },
    });
    t.like(entries.get("./etc/"), { type: "directory", mtime: "2000", size: 0 });
    t.like(entries.get("./etc/same"), { type: "link", target: "./etc/hosts" });
    t.is(entries.get("./caf\xe9")?.content, "no UTF-8\n");
    if (format === "ustar") return;
    t.like(entries.get("./etc/link"), { type: "symbolic link", target: `/${"t".repeat(150)}` });
    const deep = `./${"d".repeat(90)}/${"e".repeat(90)}/${Buffer.from("é".repeat(40)).toString("latin1")}`;
    t.is(entries.get(deep)?.content, "deep\n");
  });
}

test("a pax header for all counts until an entry says otherwise", (t) => {
  const owner = (type: string, uid: number) => ({
    ...{ path: "pax", type, content: `15 uid=${uid}\n` },
  });
  const entries = read(
    tarOf([
      owner("g", 4_000_000),
      { path: "a" },
      owner("x", 5_000_000),
      { path: "b" },
      { path: "c" },
    ]),
  );
  t.deepEqual(
    entries.map(({ path, uid }) => [path, uid]),
    [
      ["a", 4_000_000],
      ["b", 5_000_000],
      ["c", 4_000_000],
    ],
  );
});
