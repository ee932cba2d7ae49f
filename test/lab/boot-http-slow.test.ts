/** Slow requests and slow readers against the boot listener: hundreds of connections from loopback's many addresses. */

import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { Agent, get } from "node:http";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { parseIpv4Address } from "#protocol/brand.ts";
import { createFileCache } from "../../server/boot/file-cache.ts";
import { systemClock } from "../../server/clock.ts";
import { createEventBus } from "../../server/events.ts";
import { startBootListener } from "../../server/http/boot-listener.ts";
import { silentLog } from "../../server/log.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const large = randomBytes(16 * 1024 * 1024);
const small = large.subarray(0, 64 * 1024);
const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** The listener with two files, `small` in memory and `large` on disk. */
async function serving(t: ExecutionContext, idleSeconds = 120) {
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, "small"), small);
  writeFileSync(join(directory, "large"), large);
  const cache = createFileCache();
  const ended: string[] = [];
  const listener = await startBootListener({
    config: {
      bootPort: 0,
      bootHttp: { connections: 1024, connectionsPerClient: 16, idleSeconds },
    },
    address: parseIpv4Address("127.0.0.1"),
    files: {
      open: (name) =>
        name === "large"
          ? cache.openLarge(join(directory, name), name)
          : cache.open(join(directory, "small"), "small"),
    },
    images: {
      open: () => {
        throw new RangeError("no images here");
      },
    },
    events: createEventBus(silentLog),
    log: silentLog,
    leases: { macOf: () => undefined },
    clock: systemClock,
    metrics: { connectionEnded: (reason) => void ended.push(reason) },
  });
  t.teardown(() => listener.close());
  return { port: listener.port, ended };
}

/** One connection of its own; `closed` resolves when the server has ended it. */
async function connected(t: ExecutionContext, port: number, localAddress: string) {
  const socket = connect({ host: "127.0.0.1", port, localAddress });
  t.teardown(() => socket.destroy());
  socket.on("error", () => undefined); // a reset is one way to be ended
  const closed = new Promise((resolve) => socket.once("close", resolve)); // `once` would reject for a reset
  await once(socket, "connect");
  return { socket, closed };
}

const fetched = (port: number, path: string, agent: Agent) =>
  new Promise<Buffer>((resolve, reject) => {
    get({ host: "127.0.0.1", port, path, agent, localAddress: "127.0.0.9" }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => resolve(Buffer.concat(chunks)));
    }).on("error", reject);
  });

/** Fetches the small file again and again; each must be whole. @returns times in ms, sorted. */
async function healthy(port: number, count: number): Promise<readonly number[]> {
  const agent = new Agent({ keepAlive: true });
  const times: number[] = [];
  const wanted = digest(small);
  for (let done = 0; done < count; done += 1) {
    const begun = performance.now();
    const bytes = await fetched(port, "/small", agent);
    times.push(performance.now() - begun);
    if (digest(bytes) !== wanted) throw new Error(`fetch ${done} is not the file`);
  }
  agent.destroy();
  return times.sort((a, b) => a - b);
}

const p99 = (sorted: readonly number[]) => sorted[Math.floor(sorted.length * 0.99)] ?? 0;

/** Writes an octet a second until the connection is gone. */
function dribble(socket: Socket): void {
  const timer = setInterval(() => {
    if (socket.destroyed) clearInterval(timer);
    else socket.write("x");
  }, 1000);
  socket.once("close", () => clearInterval(timer));
}

for (const [title, head] of [
  ["headers", "GET /small HTTP/1.1\r\nHost: x\r\nX-Slow: "],
  ["bodies", "GET /small HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"],
] as const) {
  test(`C28: 500 connections with ${title} of one octet a second are closed, and a node is served meanwhile`, async (t) => {
    t.timeout(120_000);
    const { port } = await serving(t);
    const quiet = await healthy(port, 300);
    const slow = await Promise.all(
      Array.from({ length: 500 }, (_, at) => connected(t, port, `127.0.2.${1 + (at % 50)}`)),
    );
    for (const { socket } of slow) {
      socket.resume();
      socket.write(head);
      dribble(socket);
    }
    const beside = await healthy(port, 300);
    await Promise.all(slow.map(({ closed }) => closed));
    t.true(slow.every(({ socket }) => socket.destroyed));
    t.log(`p99 of a node's fetches: ${(p99(beside) / p99(quiet)).toFixed(2)} of quiet`);
  });
}

test("C28: 500 connections of one client are 16 at most, and a node is served meanwhile", async (t) => {
  t.timeout(60_000);
  const { port, ended } = await serving(t);
  const slow = await Promise.all(
    Array.from({ length: 500 }, () => connected(t, port, "127.0.2.1")),
  );
  await healthy(port, 50);
  await Promise.race([slow[0]?.closed, slow[1]?.closed]);
  t.is(ended.length, 500 - 16);
  t.true(ended.every((reason) => reason === "client"));
});

test("C29: beside 40 readers that stopped, 8 nodes get the large file whole; the stopped are closed when idle", async (t) => {
  t.timeout(120_000);
  const { port } = await serving(t, 10);
  const eight = async () => {
    const begun = performance.now();
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    const all = await Promise.all(Array.from({ length: 8 }, () => fetched(port, "/large", agent)));
    agent.destroy();
    const took = performance.now() - begun;
    return { took, digests: new Set(all.map(digest)) };
  };
  const quiet = await eight();
  const stopped = await Promise.all(
    Array.from({ length: 40 }, (_, at) => connected(t, port, `127.0.3.${1 + at}`)),
  );
  for (const { socket } of stopped) {
    socket.write("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    await once(socket, "readable"); // it has begun, and no octet is ever taken
  }
  const beside = await eight();
  t.deepEqual([...beside.digests], [digest(large)]);
  t.deepEqual([...quiet.digests], [digest(large)]);
  t.log(`8 nodes beside 40 stopped readers: ${(beside.took / quiet.took).toFixed(2)} of quiet`);
  for (const { socket } of stopped) socket.on("data", () => undefined); // what is left, then the end
  await Promise.all(stopped.map(({ closed }) => closed));
});
