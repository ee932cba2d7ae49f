/**
 * D40: what Redis can do to the queue while 48 nodes are rebooted. Whatever it is,
 * every node is ordered once per attempt, and all end when Redis works again.
 * Needs the Debian package redis-server.
 */

import test, { type ExecutionContext } from "ava";
import { Redis } from "ioredis";
import {
  ipv4FromNumber,
  type JobId,
  milliseconds,
  type NodeId,
  parseMacAddress,
} from "#protocol/brand.ts";
import { systemClock } from "../../server/clock.ts";
import { createEventBus } from "../../server/events.ts";
import { createJobs, type Jobs } from "../../server/job/jobs.ts";
import { openQueue } from "../../server/job/queue.ts";
import { type RedisServer, startRedis } from "../../server/job/redis.ts";
import { silentLog as log } from "../../server/log.ts";
import { createNodes, type Nodes } from "../../server/node/nodes.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import type { Store } from "../../server/store/store.ts";
import { noPower } from "../support/no-power.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const count = 48;
const atOnce = 8; // so that most tasks wait in the queue

interface Bench {
  readonly redis: RedisServer;
  readonly store: Store;
  readonly jobs: Jobs;
  readonly ids: readonly NodeId[];
  /** Orders taken, by `<task>:<epoch>`. */
  readonly effects: ReadonlyMap<string, number>;
  /** What was refused because it came too late. */
  readonly superseded: readonly string[];
  /** Entries that wait, of which some may be there twice. */
  waiting(): Promise<number>;
  /** Nodes obey from now on. */
  obey(): void;
  admin(): Redis;
  reboot(): JobId;
  ended(job: JobId): Promise<void>;
}

const pause = (ms: number) => systemClock.sleep(milliseconds(ms));

function call(nodes: Nodes, id: NodeId, bootId: string): void {
  const usual = { role: "resident", version: "1", uptimeSeconds: 1, usedMemoryMiB: 1 } as const;
  nodes.checkIn(id, { ...usual, bootId, hostname: "x" }, ipv4FromNumber(0x0a4d0001));
}

/** @param lock - how long Bull waits for a worker that says nothing */
async function open(t: ExecutionContext, lock = milliseconds(30_000)): Promise<Bench> {
  const redis = await startRedis({ directory: temporaryDirectory(t), log });
  t.teardown(() => redis.close());
  const store = openSqliteStore(":memory:");
  const events = createEventBus(log);
  const nodes = createNodes({ store, events, clock: systemClock, log });
  const queue = await openQueue({ redisUrl: redis.url, log, concurrency: atOnce, lock });
  const superseded: string[] = [];
  const jobs = createJobs({
    store,
    nodes,
    events,
    clock: systemClock,
    log,
    queue,
    ...noPower,
    timing: { sweep: milliseconds(300) },
    metrics: { superseded: (what) => void superseded.push(what) },
  });
  t.teardown(() => jobs.close());
  const ids = Array.from({ length: count }, (_, index) => {
    const mac = parseMacAddress(`52:54:00:00:00:${index.toString(16).padStart(2, "0")}`);
    const { id } = nodes.heard({ mac, ipxe: false, architectures: [] });
    call(nodes, id, "boot 0");
    return id;
  });
  await jobs.start();
  const effects = new Map<string, number>();
  const answer = async (id: NodeId) => {
    await pause(20);
    const order = jobs.assignmentFor(id);
    if (!order) return;
    const key = `${order.taskId}:${order.epoch}`;
    effects.set(key, (effects.get(key) ?? 0) + 1);
    call(nodes, id, `boot of ${order.taskId}`);
  };
  return {
    redis,
    store,
    jobs,
    ids,
    effects,
    superseded,
    waiting: () => queue.waiting(),
    obey() {
      t.teardown(jobs.onAssignment((id) => void answer(id)));
      for (const id of ids) void answer(id);
    },
    admin() {
      const client = new Redis({ path: new URL(redis.url).pathname });
      t.teardown(() => client.disconnect());
      return client;
    },
    reboot: () =>
      jobs.create({
        kind: "reboot",
        parameters: { warnSeconds: 0 },
        selector: "all",
        nodes: ids,
        createdBy: "ada",
      }).id,
    async ended(job) {
      while (store.jobs.get(job)?.endedAt === undefined) await pause(20);
    },
  };
}

const faults: readonly (readonly [
  title: string,
  begin: (bench: Bench) => Promise<void>,
  end?: (bench: Bench) => Promise<void>,
])[] = [
  ["is emptied without a word", async (bench) => void (await bench.admin().flushall())],
  [
    "is killed three times",
    async ({ redis }) => {
      for (let kill = 0; kill < 3; kill++) {
        const pid = redis.pid();
        if (pid !== undefined) process.kill(pid, "SIGKILL");
        await pause(700);
      }
    },
  ],
  [
    "stands still for two seconds",
    async ({ redis }) => {
      const pid = redis.pid() ?? 0;
      process.kill(pid, "SIGSTOP");
      await pause(2000);
      process.kill(pid, "SIGCONT");
    },
  ],
  [
    "has no memory left",
    async (bench) => {
      const admin = bench.admin();
      await admin.config("SET", "maxmemory", "1");
      await pause(1000);
    },
    async (bench) => void (await bench.admin().config("SET", "maxmemory", "0")),
  ],
  [
    "takes no writes",
    async (bench) => {
      await bench.admin().config("SET", "min-replicas-to-write", "1");
      await pause(1000);
    },
    async (bench) => void (await bench.admin().config("SET", "min-replicas-to-write", "0")),
  ],
];
for (const [title, begin, end] of faults) {
  test(`D40: redis ${title} while jobs wait and run: each order is given once, all end`, async (t) => {
    const bench = await open(t);
    const before = bench.reboot();
    while (bench.store.tasks.counts(before).every(({ state }) => state !== "running")) {
      await pause(10);
    }
    const faulty = begin(bench);
    const during = bench.reboot(); // stored, whatever Redis does
    t.is(bench.store.tasks.ofJob(during).length, count);
    bench.obey();
    await faulty;
    await end?.(bench);
    await Promise.all([bench.ended(before), bench.ended(during)]);
    for (const job of [before, during]) {
      t.is(bench.store.jobs.get(job)?.state, "done");
      for (const task of bench.store.tasks.ofJob(job)) t.is(task.epoch, 1);
    }
    t.is(bench.effects.size, 2 * count);
    t.is(Math.max(...bench.effects.values()), 1, "orders per epoch");
  });
}

const standstillSeconds = Number(process.env["MARCOBOOT_STANDSTILL_SECONDS"] ?? 3);

test(`D41: a worker whose event loop stands still for ${standstillSeconds} s loses its entries, which are given out again: each order is given once`, async (t) => {
  const bench = await open(t, milliseconds(500 * standstillSeconds));
  const job = bench.reboot();
  while (bench.store.tasks.counts(job).every(({ state }) => state !== "running")) await pause(10);
  await pause(500); // Bull has given out the rest, with a lock on each
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000 * standstillSeconds);
  while ((await bench.waiting()) <= count - atOnce) await pause(20);
  bench.obey();
  await bench.ended(job);
  while (!bench.superseded.includes("entry")) await pause(20);
  t.is(bench.store.jobs.get(job)?.state, "done");
  for (const task of bench.store.tasks.ofJob(job)) t.is(task.epoch, 1);
  t.is(bench.effects.size, count);
  t.is(Math.max(...bench.effects.values()), 1, "orders per epoch");
  t.log(`${bench.superseded.length} entries came again`);
});
