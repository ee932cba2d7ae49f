/** Capturing a system: what is taken and what is left out, how it is sent, and what installs again. */

import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { zstdDecompressSync } from "node:zlib";
import test, { type ExecutionContext } from "ava";
import type { CaptureAssignment } from "#protocol/agent.ts";
import type { NodeId, TaskId } from "#protocol/brand.ts";
import { rootfsTar } from "../../images/formats/rootfs-tar.ts";
import { createUploads } from "../../images/uploads.ts";
import { runAgent } from "../../netinst/agent.ts";
import type { Connection } from "../../netinst/connection.ts";
import { AttemptEndedError, NetworkError, ProblemError } from "../../netinst/errors.ts";
import type { Settings } from "../../netinst/settings.ts";
import { capture } from "../../netinst/steps/capture.ts";
import { mergedRanges } from "../../netinst/steps/capture-disk.ts";
import { tarOf, type Walked, walk } from "../../netinst/steps/capture-tree.ts";
import { install } from "../../netinst/steps/install.ts";
import { identityPaths, matcherOf, passingPaths } from "../../netinst/steps/left-out.ts";
import { openTreeUnpacker } from "../../netinst/steps/unpack-tree.ts";
import { macA, startServer } from "../agent/agent-peer.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { until } from "../support/until.ts";
import { recordConsole } from "./support.ts";

const own = matcherOf([...identityPaths, ...passingPaths]);

const rows: readonly (readonly [path: string, isLeftOut: boolean])[] = [
  ["/etc/ssh/ssh_host_ed25519_key", true],
  ["/etc/ssh/ssh_host_ed25519_key.pub", true],
  ["/etc/ssh/sshd_config", false],
  ["/etc/ssh", false],
  ["/etc/machine-id", true],
  ["/var/lib/dbus/machine-id", true],
  ["/var/lib/marcoboot", true],
  ["/var/lib/marcoboot2", false],
  ["/etc/hostname", true],
  ["/etc/hosts", false],
  ["/tmp", false],
  ["/tmp/a", true],
  ["/srv/tmp/a", false],
  ["/etc/systemd/system/multi-user.target.wants/marcoboot-agent.service", true],
  ["/etc/rc2.d/S99marcoboot-agent", true],
  ["/etc/shadow", false],
];
for (const [path, isLeftOut] of rows) {
  test(`${path} is ${isLeftOut ? "left out" : "taken"}`, (t) => void t.is(own(path), isLeftOut));
}

test("a star stands for a part of one name, and nothing else is special", (t) => {
  const matches = matcherOf(["/srv/*.log", "/a+b/(c)"]);
  t.true(matches("/srv/x.log"));
  t.false(matches("/srv/x/y.log"));
  t.false(matches("/srv/x_log"));
  t.true(matches("/a+b/(c)"));
  t.false(matches("/aab/c"));
  t.false(matcherOf([])("/"));
});

function put(root: string, path: string, content: string | Buffer = "", mode = 0o644): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
  chmodSync(join(root, path), mode);
}

/** A system with an identity, and with files that are hard to carry. */
function makeSystem(root: string): void {
  put(root, "etc/os-release", "ID=debian\n");
  put(root, "etc/hostname", "lab-a-1\n");
  put(root, "etc/machine-id", "0123456789abcdef0123456789abcdef\n");
  put(root, "etc/ssh/ssh_host_ed25519_key", "secret\n", 0o600);
  put(root, "etc/ssh/sshd_config", "UseDNS no\n");
  put(root, "var/lib/marcoboot/identity/node.pem", "secret\n", 0o600);
  put(root, "srv/changed", "by somebody\n");
  put(root, "srv/cache/x", "of no use\n");
  put(root, "usr/bin/passwd", randomBytes(3_000_000), 0o4755);
  put(root, `srv/${"d".repeat(120)}/${"é".repeat(60)}`, "a long name\n");
  put(root, "srv/new\nline", "a name of two lines\n");
  linkSync(join(root, "usr/bin/passwd"), join(root, "usr/bin/passwd2"));
  symlinkSync("/usr/bin/passwd", join(root, "usr/bin/absolute"));
  mkdirSync(join(root, "tmp"), { mode: 0o1777 });
  chmodSync(join(root, "tmp"), 0o1777);
  put(root, "tmp/passing", "x\n");
  spawnSync("mkfifo", [join(root, "srv/pipe")]);
}

const settings: Settings = {
  role: "netinst",
  site: { serverKey: "", discovery: { group: "127.0.0.1", port: 1 } },
  architecture: "amd64",
  identityDirectory: "/nowhere",
  interface: "lo",
  mac: "52:54:00:00:00:01",
  bootId: "boot-1",
  simulate: true,
  unreachableMs: 60_000,
};

const assignment: CaptureAssignment = {
  ...{ action: "capture", nodeId: "node_1" as NodeId, taskId: "task_1" as TaskId, epoch: 1 },
  ...{ format: "rootfs-tar", leaveOut: [], bootloader: "grub", isLast: false },
};

/** A server of a few lines: what it is sent lies in `uploads`; `before` may refuse a request first. */
function startCapture(t: ExecutionContext, before: (path: string, count: number) => void) {
  const directory = temporaryDirectory(t);
  const diskFile = join(directory, "disk");
  mkdirSync(`${diskFile}.root`);
  writeFileSync(diskFile, randomBytes(3 << 20));
  const uploads = createUploads(join(directory, "uploads"), () => true);
  let count = 0;
  const connection: Connection = {
    async post(path, body) {
      before(path, ++count);
      const query = new URL(path, "http://x").searchParams;
      if (!(body instanceof Uint8Array)) {
        const { octets, digest } = body as { octets: number; digest: string };
        return await uploads.finish(assignment, octets, digest);
      }
      return await uploads.write(assignment, Number(query.get("at")), body);
    },
    get: async () => undefined,
    rest: () => undefined,
    close: () => undefined,
  };
  const console = recordConsole();
  const run = (change: Partial<CaptureAssignment> = {}, signal = new AbortController().signal) =>
    capture(
      {
        settings: { ...settings, diskFile },
        assignment: { ...assignment, ...change },
        reporter: { progress: () => undefined },
        console,
        connection: () => connection,
        retryMs: 1,
      },
      signal,
    );
  const plain = async () => {
    const upload = await uploads.finished(assignment);
    if (!upload) throw new Error("nothing was finished");
    const stored = readFileSync(upload.path);
    t.is(createHash("sha256").update(stored).digest("hex"), upload.digest);
    return zstdDecompressSync(stored);
  };
  return {
    directory,
    diskFile,
    root: `${diskFile}.root`,
    console,
    run,
    plain,
    requests: () => count,
  };
}

test("a captured system is an image, installs again, and is nobody", async (t) => {
  const laboratory = startCapture(t, () => undefined);
  const { root, directory, console } = laboratory;
  makeSystem(root);
  await laboratory.run({ leaveOut: ["/srv/cache"] });
  const archive = await laboratory.plain();
  const check = rootfsTar.startCheck();
  check.write(archive);
  check.end();
  const other = join(directory, "other");
  mkdirSync(other);
  using unpacker = openTreeUnpacker(other);
  await unpacker.write(archive);
  await unpacker.end();
  t.is(readFileSync(join(other, "srv/changed"), "utf8"), "by somebody\n");
  t.is(readFileSync(join(other, "srv/new\nline"), "utf8"), "a name of two lines\n");
  t.true(existsSync(join(other, `srv/${"d".repeat(120)}/${"é".repeat(60)}`)));
  t.is(statSync(join(other, "usr/bin/passwd")).mode & 0o7777, 0o4755);
  t.is(statSync(join(other, "usr/bin/passwd")).ino, statSync(join(other, "usr/bin/passwd2")).ino);
  t.is(readlinkSync(join(other, "usr/bin/absolute")), "/usr/bin/passwd");
  t.is(lstatSync(join(other, "tmp")).mode & 0o7777, 0o1777);
  const gone = ["etc/hostname", "etc/machine-id", "etc/ssh/ssh_host_ed25519_key", "tmp/passing"];
  for (const path of [...gone, "var/lib/marcoboot", "srv/cache", "srv/pipe"]) {
    t.false(existsSync(join(other, path)), path);
  }
  t.false(archive.includes("secret"));
  t.true(console.lines.some((line) => /^left out: .*\/etc\/machine-id .*\/srv\/cache/.test(line)));
  t.true(console.lines.includes("1 devices, pipes and sockets were left out"));
});

test("a tree gives the same archive each time", async (t) => {
  const root = temporaryDirectory(t);
  makeSystem(root);
  const once = () => {
    const walked: Walked = { files: 0, special: 0, leftOut: [] };
    return text(tarOf(root, walk(root, own, walked)));
  };
  t.is(await once(), await once());
});

test("a disk is sent octet by octet", async (t) => {
  const laboratory = startCapture(t, () => undefined);
  await laboratory.run({ format: "raw" });
  t.true((await laboratory.plain()).equals(readFileSync(laboratory.diskFile)));
});

test("what was not answered is sent again, and a server without room is told of", async (t) => {
  const away = startCapture(t, (_path, count) => {
    if (count % 2 === 1) throw new NetworkError("the server is away");
  });
  await away.run({ format: "raw" });
  t.true((await away.plain()).equals(readFileSync(away.diskFile)));
  const full = startCapture(t, () => {
    throw new ProblemError(503, "unavailable", "no room for 1048576 octets");
  });
  const error = await t.throwsAsync(full.run({ format: "raw" }), { instanceOf: ProblemError });
  t.regex(error?.message ?? "", /no room for 1048576 octets/);
  t.true(error?.retryable);
  t.is(full.requests(), 5);
});

test("an attempt that has ended sends nothing more; a server that lost a part gets all of it again", async (t) => {
  const refusing = (code: string) =>
    startCapture(t, (path, count) => {
      if (count === 2) throw new ProblemError(409, code, path);
    });
  const ended = refusing("attempt-superseded");
  await t.throwsAsync(ended.run({ format: "raw" }), { instanceOf: AttemptEndedError });
  t.is(ended.requests(), 2);
  const lost = refusing("conflict");
  const error = await t.throwsAsync(lost.run({ format: "raw" }), { instanceOf: NetworkError });
  t.true(error?.retryable);
});

test("a capture that is stopped stops", async (t) => {
  const stop = new AbortController();
  const laboratory = startCapture(t, () => stop.abort(new AttemptEndedError("cancelled")));
  await t.throwsAsync(laboratory.run({ format: "raw" }, stop.signal), { message: /cancelled/ });
  t.is(laboratory.requests(), 1);
});

test("a directory without a system is refused, and a tree that cannot be read is told of", async (t) => {
  const empty = startCapture(t, () => undefined);
  await t.throwsAsync(empty.run(), { message: "the system on the disk has no /etc" });
  async function* names(): AsyncGenerator<Buffer, void> {
    yield Buffer.from("./not-there");
  }
  await t.throwsAsync(text(tarOf(temporaryDirectory(t), names())), {
    message: /tar ended with 2: .*not-there/,
  });
});

test("ranges that touch or overlap are one", (t) => {
  t.deepEqual(
    mergedRanges([
      [30, 40],
      [0, 10],
      [10, 12],
      [35, 38],
      [50, 60],
    ]),
    [
      [0, 12],
      [30, 40],
      [50, 60],
    ],
  );
});

test("the whole agent sends over mutual TLS; a cancelled one restarts into the system on its disk", async (t) => {
  const server = await startServer(t);
  const { id } = server.knownNode(macA);
  server.windows.open(macA, "power-on");
  server.store.jobs.put({ id: "job_1", kind: "capture", state: "running" } as never);
  server.store.tasks.put({ id: assignment.taskId, jobId: "job_1", nodeId: id, epoch: 1 } as never);
  server.orders.set(id, { ...assignment, nodeId: id });
  const directory = temporaryDirectory(t);
  const diskFile = join(directory, "disk");
  makeSystem(`${diskFile}.root`);
  writeFileSync(diskFile, randomBytes(3 << 20));
  const stop = new AbortController();
  const powered: string[] = [];
  const token = server.windows.tokenFor(macA);
  const running = runAgent(
    {
      settings: {
        ...{ ...settings, mac: macA, diskFile, identityDirectory: join(directory, "identity") },
        site: { ...settings.site, serverKey: server.site.serverKey },
        server: {
          url: `https://127.0.0.1:${server.listener.port}`,
          authority: server.site.authorityPem,
        },
        ...(token !== undefined && { token }),
      },
      ...{ console: recordConsole(), install, paceMs: 5 },
      power: async (verb) => void powered.push(verb),
    },
    stop.signal,
  );
  t.teardown(async () => {
    stop.abort();
    await running;
  });
  await until(() => server.reports.some(({ status }) => status === "done"));
  const upload = await server.uploads.finished(assignment);
  const archive = zstdDecompressSync(readFileSync(upload?.path ?? ""));
  t.true(archive.includes("by somebody"));
  t.false(archive.includes("secret"));
  t.deepEqual(powered, [], "the server says when it goes back");
  server.cancelled.add(assignment.taskId);
  server.orders.set(id, { ...assignment, nodeId: id, epoch: 2, format: "raw" });
  await until(() => powered.length > 0);
  t.deepEqual(powered, ["reboot"]);
});
