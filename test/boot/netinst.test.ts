import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { parseIpv4Address } from "#protocol/brand.ts";
import { packCpio } from "../../netinst/initramfs/cpio.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { digest, laboratory, pc, serverKey } from "./setup.ts";

const peer = { address: parseIpv4Address("10.77.0.13"), protocol: "http" } as const;

test("the initrd is stage 1, zeros to a multiple of 4, and an archive with the site's values", (t) => {
  const { boot } = laboratory(t);
  const bytes = boot.files.open("boot/netinst/amd64/initrd", peer)?.bytes() ?? new Uint8Array();
  const text = Buffer.from(bytes).toString("latin1");
  t.is(text.slice(0, 14), `stage1${"\0".repeat(2)}070701`);
  t.is(bytes.length % 4, 0);
  const site = {
    serverKey,
    stage2: { digest, sizeBytes: 5 },
    discovery: { group: "239.77.65.82", port: 1337 },
  };
  t.true(text.includes(`${JSON.stringify(site)}\n`));
  t.true(text.includes("etc/marcoboot/stage2.sha256\0"));
  t.true(text.includes(`${digest}\n`));
});

test("a new build is taken up, with another entity tag", (t) => {
  const { boot, directory, http } = laboratory(t);
  const open = () => boot.files.open("boot/netinst/amd64/initrd", peer);
  const before = open();
  t.is(open(), before);
  writeFileSync(join(directory, "netinst", "amd64", "stage1.cpio.zst"), "another stage 1");
  writeFileSync(
    join(directory, "netinst", "amd64", "netinst.json"),
    JSON.stringify({ stage2Digest: "cd".repeat(32), stage2Bytes: 6 }),
  );
  t.not(open()?.etag, before?.etag);
  t.regex(http("boot/netinst/amd64/initrd", pc) ?? "", /^another stage 1\0.*cdcdcd/s);
});

test("a damaged netinst.json leaves no initrd, and the kernel as it is", (t) => {
  const { directory, http } = laboratory(t);
  writeFileSync(join(directory, "netinst", "amd64", "netinst.json"), '{"stage2Digest":"x"}');
  t.is(http("boot/netinst/amd64/initrd", pc), undefined);
  t.is(http("boot/netinst/amd64/kernel", pc), "kernel amd64");
});

test("stage 2 stays on disk and is streamed", (t) => {
  const { boot, directory } = laboratory(t);
  const file = boot.files.open("boot/netinst/arm64/agent.squashfs", peer);
  t.is(file?.path, join(directory, "netinst", "arm64", "agent.squashfs"));
  t.is(file?.sizeBytes, 5);
});

test("busybox's cpio unpacks what was packed", (t) => {
  const directory = temporaryDirectory(t);
  const files = [
    { kind: "file", path: "a/b/one", content: Buffer.from("1") },
    { kind: "file", path: "a/two", content: Buffer.alloc(4097, "x") },
    { kind: "file", path: "empty", content: Buffer.alloc(0) },
  ] as const;
  execFileSync("busybox", ["cpio", "-id"], {
    cwd: directory,
    input: packCpio([
      { kind: "directory", path: "a" },
      { kind: "directory", path: "a/b" },
      ...files,
      { kind: "link", path: "a/link", target: "two" },
    ]),
    stdio: ["pipe", "ignore", "ignore"],
  });
  for (const { path, content } of files) {
    t.deepEqual(readFileSync(join(directory, path)), content);
  }
  t.deepEqual(readFileSync(join(directory, "a/link")), files[1].content);
});
