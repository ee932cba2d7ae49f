/** Unpacking a root file system: what comes out of it, and what never does. */

import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { InstallRefusedError, reasonOf } from "../../netinst/errors.ts";
import { openTreeUnpacker, type Unpacked, verifyTree } from "../../netinst/steps/unpack-tree.ts";
import { type TarEntry, tarOf } from "../images/tar.ts";
import { endMarker, headersOf } from "../images/tar-writer.ts";
import { temporaryDirectory } from "../support/temporary.ts";

async function unpack(directory: string, archive: Buffer, piece = 100_000): Promise<Unpacked> {
  using unpacker = openTreeUnpacker(directory);
  for (let at = 0; at < archive.length; at += piece) {
    await unpacker.write(archive.subarray(at, at + piece));
  }
  return await unpacker.end();
}

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args).toString();
}

const idle = new AbortController().signal;

test("a tree comes out as it was: owners, modes, times, links of both kinds, names of any octets", async (t) => {
  const [from, to] = [temporaryDirectory(t), temporaryDirectory(t)];
  mkdirSync(join(from, "usr/bin"), { recursive: true });
  writeFileSync(join(from, "usr/bin/passwd"), Buffer.alloc(3 << 20, "x"));
  run("chown", "7:8", join(from, "usr/bin/passwd"));
  chmodSync(join(from, "usr/bin/passwd"), 0o4755);
  linkSync(join(from, "usr/bin/passwd"), join(from, "usr/bin/same"));
  symlinkSync("/usr/bin/passwd", join(from, "usr/bin/absolute"));
  linkSync(join(from, "usr/bin/absolute"), join(from, "usr/bin/zlink"));
  symlinkSync("usr/bin", join(from, "bin"));
  writeFileSync(Buffer.from(`${from}/caf\xe9`, "latin1"), "no UTF-8\n");
  writeFileSync(join(from, "new\nline"), "two\n");
  writeFileSync(join(from, "empty"), "");
  mkdirSync(join(from, "tmp"));
  chmodSync(join(from, "tmp"), 0o1777);
  run("mknod", join(from, "null"), "c", "1", "3");
  for (const name of ["usr/bin/passwd", "usr/bin"]) utimesSync(join(from, name), 1000, 2000);
  const archive = execFileSync("tar", ["-C", from, "-cf", "-", "."], { maxBuffer: 1 << 28 });

  const { skipped, sums, warning } = await unpack(to, archive);

  t.is(skipped, 1);
  t.is(warning, undefined);
  const passwd = statSync(join(to, "usr/bin/passwd"));
  t.deepEqual([passwd.uid, passwd.gid, passwd.mode & 0o7777], [7, 8, 0o4755]);
  t.is(passwd.mtimeMs, 2_000_000);
  t.is(statSync(join(to, "usr/bin")).mtimeMs, 2_000_000, "links made last leave no trace");
  t.is(statSync(join(to, "usr/bin/same")).ino, passwd.ino);
  t.is(readlinkSync(join(to, "usr/bin/absolute")), "/usr/bin/passwd");
  t.is(readlinkSync(join(to, "usr/bin/zlink")), "/usr/bin/passwd");
  t.is(readlinkSync(join(to, "bin")), "usr/bin");
  t.is(readFileSync(Buffer.from(`${to}/caf\xe9`, "latin1"), "utf8"), "no UTF-8\n");
  t.is(readFileSync(join(to, "new\nline"), "utf8"), "two\n");
  t.is(statSync(join(to, "tmp")).mode & 0o7777, 0o1777);
  t.is(lstatSync(join(to, "null"), { throwIfNoEntry: false }), undefined);
  await t.notThrowsAsync(verifyTree(to, sums, () => undefined, idle));
});

/** user::rw-,user:1000:r--,group::r--,mask::r--,other::r-- as Linux keeps it. */
const accessList = Buffer.from(
  "02000000 01000600ffffffff 02000400e8030000 04000400ffffffff 10000400ffffffff 20000400ffffffff".replaceAll(
    " ",
    "",
  ),
  "hex",
);

/** A pax header that gives the next entry an attribute. */
function attribute(keyword: string, value: string): TarEntry {
  const rest = ` SCHILY.xattr.${keyword}=${value}\n`;
  const octets = Buffer.byteLength(rest) + 2;
  return { path: "pax", type: "x", content: `${octets > 99 ? octets + 1 : octets}${rest}` };
}

test("extended attributes are set where the file system takes them, and else told of", async (t) => {
  const [from, to] = [temporaryDirectory(t), temporaryDirectory(t)];
  const packed = (directory: string) => {
    const args = ["--xattrs", "--xattrs-include=*", "--format=posix", "-C", directory];
    return execFileSync("tar", [...args, "-cf", "-", "."]);
  };
  writeFileSync(join(from, "ping"), "program");
  const canCapabilities = spawnSync("setcap", ["cap_net_raw+ep", join(from, "ping")]).status === 0;
  await unpack(to, packed(from));
  t.is(packed(to).includes("security.capability"), canCapabilities);

  const other = temporaryDirectory(t);
  const named = tarOf([
    attribute("user.colour", "blue"),
    { path: "a", content: "b" },
    attribute("nobody.knows", "x"), // of a name space that no file system has
    { path: "b", content: "c" },
  ]);
  const { warning } = await unpack(other, named);
  t.regex(warning ?? "", /^[12] extended attributes were not taken, the first (nobody|user)\./);
  t.is(packed(other).includes("user.colour=blue"), warning?.startsWith("1 ") ?? false);
  t.is(readFileSync(join(other, "b"), "utf8"), "c");
});

test("lists of who may do what are attributes too", async (t) => {
  const to = temporaryDirectory(t);
  const headers = headersOf({
    ...{ path: "a", type: "file", target: "", mode: 0o644, uid: 0, gid: 0, mtime: "0", size: 0 },
    attributes: new Map([["SCHILY.xattr.system.posix_acl_access", accessList]]),
  });
  const { warning } = await unpack(to, Buffer.concat([headers, endMarker]));
  const args = ["--xattrs", "--xattrs-include=*", "--format=posix", "-C", to, "-cf", "-", "."];
  t.is(execFileSync("tar", args).includes(accessList), warning === undefined, warning);
});

const outside = "/var/lib";
const hostile: readonly (readonly [title: string, entries: readonly TarEntry[], RegExp])[] = [
  ["an absolute name", [{ path: "/etc/x", content: "x" }], /absolute/],
  ["a name that leads upwards", [{ path: "a/../../x", content: "x" }], /upwards/],
  [
    "a file through its own symbolic link",
    [
      { path: "out", type: "2", link: outside },
      { path: "out/x", content: "x" },
    ],
    /passes through the symbolic link "out"/,
  ],
  [
    "a symbolic link in place of a directory with a file",
    [
      { path: "out/x", content: "x" },
      { path: "out", type: "2", link: outside },
    ],
    /ENOTEMPTY/,
  ],
  [
    "a directory in place of a symbolic link",
    [
      { path: "out", type: "2", link: outside },
      { path: "./out/", type: "5" },
      { path: "out/x", content: "x" },
    ],
    /replaces a symbolic link/,
  ],
  [
    "a hard link to a file of this system",
    [{ path: "a", type: "1", link: "/etc/shadow" }],
    /hard link/,
  ],
  ["a hard link upwards", [{ path: "a", type: "1", link: "../../etc/shadow" }], /hard link/],
  [
    "a hard link through a symbolic link",
    [
      { path: "out", type: "2", link: "/etc" },
      { path: "a", type: "1", link: "out/passwd" },
    ],
    /hard link target "out\/passwd" passes through/,
  ],
  ["a hard link to nothing", [{ path: "a", type: "1", link: "b" }], /ENOENT/],
  ["a wrong checksum", [{ path: "a", badChecksum: true }], /checksum/],
];
for (const [title, entries, message] of hostile) {
  test(`an archive with ${title} is refused, and nothing is outside of the tree`, async (t) => {
    const parent = temporaryDirectory(t);
    const tree = join(parent, "tree");
    mkdirSync(tree);
    const before = readdirSync(outside);
    const error = await t.throwsAsync(unpack(tree, tarOf(entries)), {
      instanceOf: InstallRefusedError,
    });
    t.regex(reasonOf(error), message);
    t.deepEqual(readdirSync(parent), ["tree"]);
    t.deepEqual(readdirSync(outside), before);
    t.false(existsSync("/etc/x"));
  });
}

test("of two files of one name the last counts, a link in place of a file too", async (t) => {
  const to = temporaryDirectory(t);
  const { sums } = await unpack(
    to,
    tarOf([
      { path: "a", content: "first" },
      { path: "./a", content: "second" },
      { path: "b", content: "gone" },
      { path: "b", type: "2", link: "/etc/passwd" },
    ]),
  );
  t.is(readFileSync(join(to, "a"), "utf8"), "second");
  t.is(readlinkSync(join(to, "b")), "/etc/passwd");
  t.deepEqual([...sums.keys()], ["a"]);
});

async function withTree(t: ExecutionContext) {
  const to = temporaryDirectory(t);
  const big = "x".repeat(3 << 20);
  const archive = tarOf([
    { path: "opt/big", content: big },
    { path: "opt/small", content: "y" },
    { path: "opt/empty", content: "" },
  ]);
  return { to, big, archive };
}

test("a file that the disk returns otherwise is named", async (t) => {
  const { to, big, archive } = await withTree(t);
  const { sums } = await unpack(to, archive, 999);
  const read: number[] = [];
  await verifyTree(to, sums, (octets) => void read.push(octets), idle);
  t.is(read.at(-1), big.length + 1);
  const bytes = readFileSync(join(to, "opt/big"));
  bytes[2 << 20] = 0x79;
  writeFileSync(join(to, "opt/big"), bytes);
  await t.throwsAsync(
    verifyTree(to, sums, () => undefined, idle),
    { message: "the disk returns other bytes of /opt/big than were written" },
  );
});

test("a disk without room is told of", async (t) => {
  const small = temporaryDirectory(t);
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", small]).status === 0;
  t.teardown(() => void spawnSync("umount", [small]));
  if (!mounted) {
    t.pass("mounting wants root");
    return;
  }
  const { archive } = await withTree(t);
  const error = await t.throwsAsync(unpack(small, archive), { instanceOf: InstallRefusedError });
  t.regex(reasonOf(error), /cannot be unpacked: ENOSPC/);
});
