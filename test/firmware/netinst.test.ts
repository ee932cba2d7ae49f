/**
 * The netinst that setup built, in QEMU without acceleration, with 256 MB of RAM and
 * no disk. The guest's network is QEMU's own user network: it reaches an HTTP server
 * on this machine's loopback as 10.0.2.2, and nothing else.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { createHash, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test from "ava";
import type { Architecture } from "#protocol/firmware.ts";
import type { Netinst } from "../../netinst/initramfs/build.ts";
import { run } from "../../netinst/initramfs/command.ts";
import { packCpio } from "../../netinst/initramfs/cpio.ts";
import { tethered } from "../../scripts/lab/command.ts";
import { cacheDirectory } from "../../scripts/setup.ts";

const megabyte = 1_000_000;
const mac = "52:54:00:6d:62:01";
/** Three times what an agent took to start on a busy machine. */
const patienceMs = 120_000;

/** no_timer_check: on a busy machine the kernel's own test of the emulated timer may fail, and panics. */
const guests = {
  amd64: {
    program: "qemu-system-x86_64",
    machine: ["-M", "pc"],
    console: "ttyS0,115200 no_timer_check",
  },
  arm64: {
    program: "qemu-system-aarch64",
    machine: ["-M", "virt", "-cpu", "cortex-a53"],
    console: "ttyAMA0,115200",
  },
} as const;

const built = (["amd64", "arm64"] as const).filter(
  (architecture) =>
    existsSync(join(netinstOf(architecture), "netinst.json")) &&
    existsSync(join("/usr/bin", guests[architecture].program)),
);

function netinstOf(architecture: Architecture): string {
  return join(cacheDirectory, "netinst", architecture);
}

interface Guest {
  /** Resolves with the first line, said or still to come, that matches; rejects with the last lines. */
  line(pattern: RegExp): Promise<string>;
  readonly lines: readonly string[];
}

/** Starts a guest that fetches stage 2 from `answer`, and ends it with the work. */
async function withGuest(
  architecture: Architecture,
  answer: RequestListener,
  work: (guest: Guest) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "marcoboot-netinst-"));
  const server = createServer(answer).listen(0, "127.0.0.1");
  let guest: ChildProcess | undefined;
  try {
    await once(server, "listening");
    const url = `http://10.0.2.2:${(server.address() as AddressInfo).port}`;
    const initrd = join(directory, "initrd");
    writeFileSync(initrd, initrdOf(architecture));
    const { program, machine, console } = guests[architecture];
    const words = `console=${console} rootfstype=ramfs marcoboot.url=${url} marcoboot.mac=${mac}`;
    const [command, args] = tethered(program, [
      ...["-accel", "tcg", ...machine, "-m", "256", "-nodefaults", "-no-reboot"],
      ...["-display", "none", "-serial", "stdio", "-append", words],
      ...["-kernel", join(netinstOf(architecture), "kernel"), "-initrd", initrd],
      ...["-netdev", "user,id=n", "-device", `virtio-net-pci,netdev=n,mac=${mac}`],
    ]);
    guest = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
    await work(listen(guest));
  } finally {
    guest?.kill("SIGKILL");
    server.close();
    server.closeAllConnections();
    rmSync(directory, { recursive: true });
  }
}

/** What the server serves as initrd: stage 1 and the site's overlay behind it. */
function initrdOf(architecture: Architecture): Buffer {
  const netinst = readNetinst(architecture);
  const { publicKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ type: "spki", format: "der" }).subarray(-32);
  const site = {
    serverKey: raw.toString("base64"),
    stage2: { digest: netinst.stage2Digest, sizeBytes: netinst.stage2Bytes },
    discovery: { group: "239.77.65.82", port: 1337 },
  };
  const file = (name: string, text: string) => ({
    kind: "file" as const,
    path: `etc/marcoboot/${name}`,
    content: Buffer.from(text),
  });
  return Buffer.concat([
    readFileSync(join(netinstOf(architecture), "stage1.cpio.zst")),
    packCpio([
      { kind: "directory", path: "etc" },
      { kind: "directory", path: "etc/marcoboot" },
      file("site.json", JSON.stringify(site)),
      file("stage2.sha256", `${netinst.stage2Digest}\n`),
      file("stage2.size", `${netinst.stage2Bytes}\n`),
    ]),
  ]);
}

function readNetinst(architecture: Architecture): Netinst {
  return JSON.parse(readFileSync(join(netinstOf(architecture), "netinst.json"), "utf8"));
}

function listen(guest: ChildProcess): Guest {
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const one of waiting) one();
  };
  if (guest.stdout) {
    createInterface({ input: guest.stdout }).on("line", (line) => {
      lines.push(line.trimEnd());
      wake();
    });
  }
  guest.on("close", wake);
  return {
    lines,
    line: (pattern) => {
      const { promise, resolve, reject } = Promise.withResolvers<string>();
      const look = () => {
        const found = lines.find((line) => pattern.test(line));
        if (found !== undefined) resolve(found);
        else if (guest.exitCode !== null) refuse("the guest ended");
      };
      const refuse = (reason: string) =>
        reject(new Error(`${reason} before ${pattern}:\n${lines.slice(-40).join("\n")}`));
      const timer = setTimeout(refuse, patienceMs, `${patienceMs / 1000} s went by`);
      waiting.add(look);
      look();
      return promise.finally(() => {
        clearTimeout(timer);
        waiting.delete(look);
      });
    },
  };
}

for (const architecture of built) {
  const stage2 = join(netinstOf(architecture), "agent.squashfs");
  const path = `/boot/netinst/${architecture}/agent.squashfs`;

  test(`${architecture}: stage 1 fits into 8 MB, stage 2 into 45 MB, and the digest is its file's`, (t) => {
    const { stage1Bytes, stage2Bytes, stage2Digest } = readNetinst(architecture);
    t.true(stage1Bytes <= 8 * megabyte, `${stage1Bytes}`);
    t.true(stage2Bytes <= 45 * megabyte, `${stage2Bytes}`);
    t.is(createHash("sha256").update(readFileSync(stage2)).digest("hex"), stage2Digest);
  });

  test.serial(
    `${architecture}: with 256 MB of RAM the agent starts and asks for its server`,
    async (t) => {
      const asked: (string | undefined)[] = [];
      await withGuest(
        architecture,
        (request, response) => {
          asked.push(request.url);
          response.end(readFileSync(stage2));
        },
        async (guest) => {
          await guest.line(new RegExp(`marcoboot: stage 1, ${architecture}, kernel`));
          await guest.line(/netinst agent .* on \w+ \(52:54:00:6d:62:01\), trusting key/);
          await guest.line(/no server has answered yet on 10\.0\.2\.15/);
          t.deepEqual(asked, [path]);
          t.false(guest.lines.some((line) => /Out of memory|oom-kill|failed:/.test(line)));
        },
      );
    },
  );
}

test.serial(
  "a stage 2 that is missing, short or altered is told, not mounted, and asked for again",
  async (t) => {
    const whole = readFileSync(join(netinstOf("amd64"), "agent.squashfs"));
    const altered = Buffer.from(whole);
    altered.writeUInt8(altered.readUInt8(5000) ^ 1, 5000);
    const answers = [undefined, whole.subarray(0, 70_000), altered, whole];
    await withGuest(
      "amd64",
      (_request, response) => {
        const answer = answers.shift();
        if (answer) response.end(answer);
        else response.writeHead(404).end();
      },
      async (guest) => {
        await guest.line(/attempt 1 of 10 failed: .*agent\.squashfs: .*404/);
        await guest.line(
          /attempt 2 of 10 failed: .* wrong size: 70000 octets came, \d+ are pinned/,
        );
        await guest.line(
          /attempt 3 of 10 failed: .* wrong digest: sha-256 \w{64} came, \w{64} is pinned/,
        );
        t.false(guest.lines.some((line) => line.includes("starting the agent")));
        await guest.line(/trusting key/);
      },
    );
  },
);

test.serial("every tool in stage 2 runs with the libraries packed beside it", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "marcoboot-stage2-"));
  try {
    const root = join(directory, "root");
    await run("unsquashfs", [
      "-quiet",
      "-no-progress",
      "-d",
      root,
      join(netinstOf("amd64"), "agent.squashfs"),
    ]);
    const [loader = ""] = readdirSync(join(root, "lib")).filter((name) =>
      name.startsWith("ld-linux"),
    );
    const tools = readdirSync(join(root, "sbin")).map((name) => `sbin/${name}`);
    t.is(tools.length, 10);
    for (const program of ["bin/node", ...tools]) {
      const verified = await run(join(root, "lib", loader), [
        "--inhibit-cache",
        "--library-path",
        join(root, "lib"),
        "--list",
        join(root, program),
      ]);
      t.false(/not found|=> (?!.*\/root\/lib\/)\//.test(verified), verified);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});
