/** Captures of a disk with real file systems: nothing is written, nothing private is in the image. Needs root. */

import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import test, { type ExecutionContext } from "ava";
import type { CaptureAssignment } from "#protocol/agent.ts";
import type { NodeId, TaskId } from "#protocol/brand.ts";
import { createUploads } from "../../images/uploads.ts";
import type { Connection } from "../../netinst/connection.ts";
import { AgentError } from "../../netinst/errors.ts";
import { withLoop, withMount } from "../../netinst/loop.ts";
import {
  headOctets,
  makeMbr,
  type Partition,
  parsePartitionTable,
} from "../../netinst/partition-table.ts";
import { capture } from "../../netinst/steps/capture.ts";
import { recordConsole } from "../netinst/support.ts";

const mebibyte = 1 << 20;
const diskOctets = 96 * mebibyte;
const secret = randomBytes(20).toString("hex");
const erased = randomBytes(20).toString("hex");
const kept = randomBytes(2 * mebibyte);
const uuid = "11111111-2222-3333-4444-555555555555";

const assignment: CaptureAssignment = {
  ...{ action: "capture", nodeId: "node_1" as NodeId, taskId: "task_1" as TaskId, epoch: 1 },
  ...{ format: "rootfs-tar", leaveOut: ["/srv/cache"], bootloader: "grub", isLast: false },
};

function command(program: string, args: readonly string[], input = ""): string {
  const { status, stdout, stderr, error } = spawnSync(program, [...args], { input });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr} ${error ?? ""}`);
  return String(stdout);
}

function put(root: string, path: string, content: string | Buffer): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
}

interface Laboratory {
  readonly directory: string;
  readonly disk: string;
  readonly root: Partition;
  run(change?: Partial<CaptureAssignment>, diskFile?: string): Promise<Buffer>;
}

/** A disk with a system, a home of its own, and files that were written and erased. */
async function makeLaboratory(t: ExecutionContext): Promise<Laboratory> {
  const directory = mkdtempSync(join(tmpdir(), "marcoboot-lab-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const disk = join(directory, "disk");
  writeFileSync(disk, "");
  truncateSync(disk, diskOctets);
  const table = makeMbr(diskOctets, 0x12345678, [
    { type: "83", name: "home", offset: mebibyte, length: 16 * mebibyte },
    { type: "83", name: "root", offset: 17 * mebibyte },
  ]);
  const [home, root] = parsePartitionTable(table.head)?.partitions ?? [];
  if (!home || !root) throw new Error("a table without partitions");
  const tree = join(directory, "tree");
  put(tree, "etc/os-release", "ID=debian\n");
  put(tree, "etc/machine-id", secret);
  put(tree, "etc/ssh/ssh_host_rsa_key", secret);
  put(tree, "var/lib/marcoboot/identity/node.pem", secret);
  put(tree, "srv/cache/x", secret);
  put(tree, "srv/data", kept);
  put(tree, "usr/bin/ping", "program");
  command("setcap", ["cap_net_raw+ep", join(tree, "usr/bin/ping")]);
  for (const [partition, from] of [
    [home, undefined],
    [root, tree],
  ] as const) {
    await withLoop(disk, partition.offset, async (device) => {
      const size = `${partition.length / 1024}k`;
      command("mke2fs", [
        ...["-q", "-F", "-t", "ext4", "-U", uuid, ...(from ? ["-d", from] : [])],
        ...[device, size],
      ]);
      await withMount(device, "ext4", async (mounted) => {
        put(mounted, "erased", erased.repeat(1000));
        command("sync", ["-f", mounted]);
        rmSync(join(mounted, "erased"));
      });
    });
  }
  const content = readFileSync(disk);
  table.head.copy(content, 0, 0, headOctets);
  writeFileSync(disk, content);
  const run = async (change: Partial<CaptureAssignment> = {}, diskFile = disk) => {
    const uploads = createUploads(join(directory, "uploads"), () => true);
    const connection: Connection = {
      async post(path, body) {
        if (body instanceof Uint8Array) {
          const at = Number(new URL(path, "http://x").searchParams.get("at"));
          return await uploads.write(assignment, at, body);
        }
        const { octets, digest } = body as { octets: number; digest: string };
        return await uploads.finish(assignment, octets, digest);
      },
      get: async () => undefined,
      rest: () => undefined,
      close: () => undefined,
    };
    await capture(
      {
        settings: {
          ...{ role: "netinst", architecture: "amd64", identityDirectory: "/nowhere" },
          site: { serverKey: "", discovery: { group: "127.0.0.1", port: 1 } },
          ...{ interface: "lo", mac: "52:54:00:00:00:01", bootId: "boot-1", diskFile },
          ...{ simulate: false, unreachableMs: 60_000 },
        },
        assignment: { ...assignment, ...change },
        reporter: { progress: () => undefined },
        console: recordConsole(),
        connection: () => connection,
      },
      new AbortController().signal,
    );
    const upload = await uploads.finished(assignment);
    const plain = zstdDecompressSync(readFileSync(upload?.path ?? ""));
    await uploads.discard(assignment.taskId);
    return plain;
  };
  return { directory, disk, root, run };
}

const digestOf = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");

test("the files of a system are read from its disk, which stays as it is, with what makes their attributes", async (t) => {
  const { disk, run } = await makeLaboratory(t);
  const before = digestOf(disk);
  const archive = await run();
  t.is(digestOf(disk), before);
  t.true(archive.includes(kept));
  t.false(archive.includes(secret));
  t.true(archive.includes("SCHILY.xattr.security.capability"));
  t.false(command("tar", ["-tf", "-"], archive as never).includes("machine-id"));
});

test("a whole disk comes without what is private and without what was erased, and is whole", async (t) => {
  const { directory, disk, root, run } = await makeLaboratory(t);
  const before = digestOf(disk);
  t.true(readFileSync(disk).includes(erased), "it is still there");
  const image = await run({ format: "raw" });
  t.is(digestOf(disk), before);
  t.is(image.length, diskOctets);
  t.true(image.includes(kept));
  t.false(image.includes(secret));
  t.false(image.includes(erased));
  const copy = join(directory, "copy");
  writeFileSync(copy, image);
  await withLoop(copy, root.offset, async (device) => {
    command("e2fsck", ["-fn", device]);
    await withMount(device, "ext4", async (mounted) => {
      t.true(readFileSync(join(mounted, "srv/data")).equals(kept));
      t.true(readFileSync(join(mounted, "etc/machine-id")).every((octet) => octet === 0));
    });
  });
});

test("a system that was not shut down is not captured, and is not repaired", async (t) => {
  const { directory, disk, root, run } = await makeLaboratory(t);
  const unclean = join(directory, "unclean");
  await withLoop(disk, root.offset, (device) =>
    withMount(device, "ext4", async (mounted) => {
      put(mounted, "srv/late", "written in the last moment\n");
      command("sync", ["-f", mounted]);
      copyFileSync(disk, unclean); // as if the power had gone
    }),
  );
  const before = digestOf(unclean);
  for (const format of ["rootfs-tar", "raw"] as const) {
    const error = await t.throwsAsync(run({ format }, unclean), { instanceOf: AgentError });
    t.regex(error?.message ?? "", /^partition 2 of .* was not unmounted when the node went down/);
    t.false(error?.retryable);
  }
  t.is(digestOf(unclean), before);
});

test("a system that lies on several file systems is not captured by halves", async (t) => {
  const { disk, root, run } = await makeLaboratory(t);
  await withLoop(disk, root.offset, (device) =>
    withMount(device, "ext4", async (mounted) =>
      put(mounted, "etc/fstab", `UUID=${uuid} / ext4 defaults 0 1\n/dev/sda1 /var ext4 x 0 2\n`),
    ),
  );
  await t.throwsAsync(run(), {
    message:
      "/var of this system is a file system of its own: capture the whole disk, with --kind raw",
  });
  t.is((await run({ format: "raw" })).length, diskOctets);
});
