/** Real TFTP clients against our server and each of its engines, on loopback. */

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import test, { type ExecutionContext } from "ava";
import { parseIpv4Address } from "#protocol/brand.ts";
import { bootFile } from "../../server/boot/file-cache.ts";
import { systemClock } from "../../server/clock.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { startTftp } from "../../server/tftp/server.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const run = promisify(execFile);
const loopback = parseIpv4Address("127.0.0.1");
/** A kernel's size, and no multiple of any block. */
const content = Buffer.from(
  Uint8Array.from({ length: 5_000_011 }, (_, at) => (at * 73 + (at >> 9)) & 0xff),
);
const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

const engines = ["batched", "unsegmented", "portable"] as const;

async function serve(t: ExecutionContext, engine: (typeof engines)[number]): Promise<string> {
  const server = await startTftp({
    config: {
      tftpPort: 0,
      tftp: { transfers: 64, transfersPerPeer: 4, allowFragments: false, engine },
    },
    interfaceName: "lo",
    address: loopback,
    files: {
      open: (name) => (name === "kernel" ? bootFile(name, content, '"1"') : undefined),
    },
    events: createEventBus(silentLog),
    clock: systemClock,
    log: silentLog,
  });
  t.teardown(() => server.close());
  return String(server.port);
}

interface Peer {
  readonly name: string;
  readonly get: (port: string, to: string) => readonly [command: string, ...args: string[]];
  readonly put: (port: string, from: string) => readonly [command: string, ...args: string[]];
}
const peers: readonly Peer[] = [
  {
    name: "tftp-hpa",
    get: (port, to) => ["tftp", "-m", "binary", "127.0.0.1", port, "-c", "get", "kernel", to],
    put: (port, from) => ["tftp", "-m", "binary", "127.0.0.1", port, "-c", "put", from, "kernel"],
  },
  {
    name: "curl",
    get: (port, to) => ["curl", "-sS", "-o", to, `tftp://127.0.0.1:${port}/kernel`],
    put: (port, from) => ["curl", "-sS", "-T", from, `tftp://127.0.0.1:${port}/kernel`],
  },
  {
    name: "curl with blocks of 65464",
    get: (port, to) => [
      ...(["curl", "-sS", "--tftp-blksize", "65464", "-o", to] as const),
      `tftp://127.0.0.1:${port}/kernel`,
    ],
    put: (port, from) => ["curl", "-sS", "-T", from, `tftp://127.0.0.1:${port}/kernel`],
  },
  {
    name: "atftp with windows of 16",
    get: (port, to) => [
      ...(["atftp", "--get", "--remote-file", "kernel", "--local-file", to] as const),
      ...["--option", "blksize 1428", "--option", "windowsize 16", "127.0.0.1", port],
    ],
    put: (port, from) => [
      ...(["atftp", "--put", "--local-file", from, "--remote-file", "kernel"] as const),
      ...["127.0.0.1", port],
    ],
  },
  {
    name: "busybox tftp",
    get: (port, to) => [
      ...(["busybox", "tftp", "-b", "1468", "-g", "-r", "kernel", "-l", to] as const),
      ...["127.0.0.1", port],
    ],
    put: (port, from) => ["busybox", "tftp", "-p", "-l", from, "-r", "kernel", "127.0.0.1", port],
  },
];

for (const engine of engines) {
  for (const { name, get, put } of peers) {
    test(`${engine}: ${name} fetches a file whole`, async (t) => {
      const to = join(temporaryDirectory(t), "kernel");
      const [command, ...args] = get(await serve(t, engine), to);
      await run(command, args);
      t.is(digest(readFileSync(to)), digest(content));
    });

    test(`${engine}: ${name} is not allowed to write`, async (t) => {
      const path = import.meta.filename;
      const before = digest(readFileSync(path));
      const [command, ...args] = put(await serve(t, engine), path);
      const said = await run(command, args).then(
        ({ stdout, stderr }) => stdout + stderr, // tftp-hpa's exit code does not tell
        (error: { stdout: string; stderr: string }) => error.stdout + error.stderr, // curl: (69), access violation
      );
      t.regex(said, /takes no files|access violation|\(69\)/i);
      t.is(digest(readFileSync(path)), before);
    });
  }
}
