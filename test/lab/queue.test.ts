/** Bull on a real redis-server child, which is killed, damaged and left behind. Needs the Debian package redis-server. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import Bull from "bull";
import {
  type Instant,
  type JobId,
  milliseconds,
  type NodeId,
  type TaskId,
} from "#protocol/brand.ts";
import { systemClock } from "../../server/clock.ts";
import { createEventBus } from "../../server/events.ts";
import { createJobs } from "../../server/job/jobs.ts";
import { openQueue, type QueueEntry } from "../../server/job/queue.ts";
import { type RedisServer, startRedis } from "../../server/job/redis.ts";
import { silentLog as log } from "../../server/log.ts";
import { createNodes } from "../../server/node/nodes.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { noPower } from "../support/no-power.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { until } from "../support/until.ts";

const entry = (name: string): QueueEntry => ({ taskId: name as TaskId, epoch: 0 });

async function start(t: ExecutionContext, directory: string): Promise<RedisServer> {
  const redis = await startRedis({ directory, log });
  t.teardown(() => redis.close());
  return redis;
}

function kill(redis: RedisServer): void {
  const pid = redis.pid();
  if (pid !== undefined) process.kill(pid, "SIGKILL");
}

test("redis listens on its socket only, keeps an append-only file, and is gone after close", async (t) => {
  const directory = temporaryDirectory(t);
  const redis = await start(t, directory);
  const pid = redis.pid() ?? 0;
  t.is(redis.url, `unix://${directory}/redis.sock`);
  t.is(statSync(join(directory, "redis.sock")).mode & 0o777, 0o700);
  t.true(existsSync(join(directory, "appendonlydir")));
  await redis.close();
  t.false(existsSync(`/proc/${pid}`));
  t.false(existsSync(join(directory, "redis.sock")));
});

test("a state directory with a long path gets a socket elsewhere, which is removed", async (t) => {
  const directory = join(temporaryDirectory(t), "x".repeat(100));
  const redis = await start(t, directory);
  const path = new URL(redis.url).pathname;
  t.true(path.length < 108 && !path.startsWith(directory));
  await redis.close();
  t.false(existsSync(path));
});

test("a missing redis-server is told with the name of its package", async (t) => {
  const directory = temporaryDirectory(t);
  await t.throwsAsync(startRedis({ directory, log, program: "no-such-redis" }), {
    name: "ConfigurationError",
    message: /install the Debian package redis-server/,
  });
});

test("the redis that a killed server left behind is ended first", async (t) => {
  const directory = temporaryDirectory(t);
  // One that listens nowhere ends by itself.
  const settings = ["--port", "0", "--unixsocket", "left.sock", "--dir", directory];
  const leftover = spawn("redis-server", settings, { stdio: "ignore" });
  t.teardown(() => leftover.kill("SIGKILL"));
  await once(leftover, "spawn");
  const ended = once(leftover, "exit");
  writeFileSync(join(directory, "redis.pid"), `${leftover.pid}\n`);
  await until(() => readlinkSync(`/proc/${leftover.pid}/cwd`) === directory);
  const redis = await start(t, directory);
  await ended;
  t.truthy(redis.pid());
});

test("a process that merely has the old number is left alone", async (t) => {
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, "redis.pid"), `${process.pid}\n`);
  t.truthy((await start(t, directory)).pid());
});

test("D47: a redis whose directory was removed comes back when it dies", async (t) => {
  const directory = join(temporaryDirectory(t), "redis");
  const redis = await start(t, directory);
  const before = redis.pid();
  rmSync(directory, { recursive: true });
  kill(redis);
  await until(() => redis.pid() !== undefined && redis.pid() !== before && existsSync(directory));
  const queue = await openQueue({ redisUrl: redis.url, log });
  t.teardown(() => queue.close());
  await queue.add([entry("after")]);
  t.is(await queue.waiting(), 1);
});

test("a damaged append-only file is set aside", async (t) => {
  const directory = temporaryDirectory(t);
  const kept = join(directory, "appendonlydir");
  mkdirSync(kept);
  writeFileSync(join(kept, "appendonly.aof.manifest"), "nonsense\n");
  const redis = await start(t, directory);
  t.truthy(redis.pid());
  t.true(readdirSync(directory).includes("appendonlydir.damaged"));
});

const damages: readonly (readonly [title: string, damage: (file: Buffer) => Buffer])[] = [
  ["changed in its middle", (file) => file.fill(0x58, file.length / 2, file.length / 2 + 40)],
  ["cut in its middle", (file) => file.subarray(0, file.length / 2)],
  ["cut in its last entry", (file) => file.subarray(0, file.length - 3)],
];
for (const [title, damage] of damages) {
  test(`D43: an append-only file that was ${title}: the queue is filled again and runs`, async (t) => {
    const directory = temporaryDirectory(t);
    const entries = Array.from({ length: 50 }, (_, index) => entry(`task ${index}`));
    const before = await startRedis({ directory, log });
    const lost = await openQueue({ redisUrl: before.url, log });
    await lost.add(entries);
    await lost.close();
    await before.close();
    const kept = join(directory, "appendonlydir");
    const file = join(kept, readdirSync(kept).find((one) => one.endsWith("incr.aof")) ?? "");
    writeFileSync(file, damage(readFileSync(file)));
    const redis = await start(t, directory);
    const queue = await openQueue({ redisUrl: redis.url, log });
    t.teardown(() => queue.close());
    const ran: string[] = [];
    queue.process(async ({ taskId }) => void ran.push(taskId));
    await queue.rebuild(() => entries);
    await until(() => new Set(ran).size === entries.length);
    t.is(new Set(ran).size, entries.length);
  });
}

test("entries run, also those added while redis was away", async (t) => {
  const redis = await start(t, temporaryDirectory(t));
  const queue = await openQueue({ redisUrl: redis.url, log });
  t.teardown(() => queue.close());
  const ran: string[] = [];
  let restored = 0;
  queue.onRestored(() => void restored++);
  queue.process(async ({ taskId }) => void ran.push(taskId));
  await queue.rebuild(() => [entry("first")]);
  await until(() => ran.includes("first"));
  kill(redis);
  await until(() => !queue.isConnected());
  const added = queue.add([entry("second")]);
  await added;
  await until(() => ran.includes("second"));
  t.is(restored, 1);
  t.deepEqual(ran, ["first", "second"]);
});

test.serial(
  "a queue whose pause fails, as when it connects anew at that moment, goes on",
  async (t) => {
    const redis = await start(t, temporaryDirectory(t));
    const queue = await openQueue({ redisUrl: redis.url, log });
    t.teardown(() => queue.close());
    const ran: string[] = [];
    queue.process(async ({ taskId }) => void ran.push(taskId));
    const { pause } = Bull.prototype;
    t.teardown(() => void Object.assign(Bull.prototype, { pause }));
    Bull.prototype.pause = async function (this: Bull.Queue, ...how: Parameters<typeof pause>) {
      await pause.apply(this, how);
      throw new Error("Redis is already connecting/connected");
    };
    await t.throwsAsync(
      queue.rebuild(() => []),
      { message: /already connecting/ },
    );
    await queue.add([entry("first")]);
    await until(() => ran.includes("first"));
    t.deepEqual(ran, ["first"]);
  },
);

test("a queue that is closed while it still opens leaves nothing that ends the process", async (t) => {
  const redis = await start(t, temporaryDirectory(t));
  const broken: unknown[] = [];
  const note = (reason: unknown) => void broken.push(reason);
  process.on("unhandledRejection", note);
  t.teardown(() => void process.off("unhandledRejection", note));
  for (let ms = 0; ms < 30; ms += 4) {
    const queue = await openQueue({ redisUrl: redis.url, log, name: `closed after ${ms}` });
    queue.process(async () => undefined);
    const rebuilt = queue.rebuild(() => []).catch(() => undefined);
    await systemClock.sleep(milliseconds(ms));
    await Promise.all([queue.close(), queue.close(), rebuilt]);
  }
  t.deepEqual(broken, []);
});

test("a task that runs while redis is killed and emptied runs once, and so does one that waited", async (t) => {
  const directory = temporaryDirectory(t);
  const redis = await start(t, directory);
  const store = openSqliteStore(":memory:");
  const events = createEventBus(log);
  const clock = systemClock;
  const nodes = createNodes({ store, events, clock, log });
  const queue = await openQueue({ redisUrl: redis.url, log });
  const jobs = createJobs({
    store,
    nodes,
    events,
    clock,
    log,
    queue,
    ...noPower,
  });
  t.teardown(() => jobs.close());
  await jobs.start();
  const call = (id: NodeId, bootId: string) =>
    nodes.checkIn(
      id,
      { role: "resident", version: "1", bootId, hostname: "x", uptimeSeconds: 1, usedMemoryMiB: 1 },
      "10.77.0.11" as never,
    );
  const [one, two] = ["52:54:00:00:00:01", "52:54:00:00:00:02"].map(
    (mac) => nodes.heard({ mac: mac as never, ipxe: false, architectures: [] }).id,
  );
  if (!one || !two) return t.fail();
  call(one, "a");
  call(two, "a");
  const taskOf = (id: JobId) => store.tasks.ofJob(id)[0];
  const create = (node: NodeId) =>
    jobs.create({
      kind: "reboot",
      parameters: { warnSeconds: 0 },
      selector: "x",
      nodes: [node],
      createdBy: "ada",
    });
  const running = create(one);
  await until(() => taskOf(running.id)?.state === "running");

  kill(redis);
  await until(() => !queue.isConnected());
  const waiting = create(two);
  await until(() => taskOf(waiting.id)?.state === "running");
  call(one, "b");
  call(two, "b");
  await until(() => taskOf(running.id)?.state === "done" && taskOf(waiting.id)?.state === "done");
  for (const job of [running, waiting]) {
    t.is(store.attempts.ofTask(taskOf(job.id)?.id ?? ("" as TaskId)).length, 1);
  }
  t.true((store.jobs.get(running.id)?.endedAt ?? (0 as Instant)) > 0);
});
