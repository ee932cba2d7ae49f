/**
 * One round of the jobs bench for one contender: a process of its own, so that
 * each begins with an empty heap. Values by metric, as JSON on standard output.
 *
 *   node jobs-load.ts marcoboot|bull|node-cron <directory>
 */

import { join } from "node:path";
import Bull from "bull";
import { Redis } from "ioredis";
import { createTask } from "node-cron";
import { ipv4FromNumber, milliseconds, type NodeId, parseMacAddress } from "#protocol/brand.ts";
import type { Schedule } from "#protocol/schedule.ts";
import { systemClock as clock } from "../../server/clock.ts";
import { createEventBus } from "../../server/events.ts";
import { createEventLog } from "../../server/http/event-log.ts";
import { createGather, type Gather } from "../../server/job/gather.ts";
import { createJobs, type Jobs } from "../../server/job/jobs.ts";
import { openQueue, type Queue, usualConcurrency } from "../../server/job/queue.ts";
import { startRedis } from "../../server/job/redis.ts";
import { createSchedules } from "../../server/job/schedules.ts";
import { silentLog as log } from "../../server/log.ts";
import { createNodes, type Nodes } from "../../server/node/nodes.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { type JobMetricName, nodeCount, scheduleCount } from "./jobs-metrics.ts";

const [contender = "", directory = "."] = process.argv.slice(2);
const values: Partial<Record<JobMetricName, number>> = {};

async function timed(work: () => unknown): Promise<number> {
  const since = performance.now();
  await work();
  return performance.now() - since;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await clock.sleep(milliseconds(2));
}

async function marcoboot(redisUrl: string): Promise<void> {
  const store = openSqliteStore(join(directory, "marcoboot.db"));
  const events = createEventBus(log);
  const eventLog = createEventLog({ store, events, clock, log });
  const nodes = createNodes({ store, events, clock, log });
  const ids = store.transaction(() =>
    Array.from({ length: nodeCount }, (_, index) => addNode(nodes, index)),
  );
  const queue = await openQueue({ redisUrl, log });
  let added: Promise<void> = Promise.resolve();
  let rebuilt: Promise<void> = Promise.resolve();
  const watched: Queue = {
    ...queue,
    add(entries) {
      added = queue.add(entries);
      return added;
    },
    rebuild(entries) {
      rebuilt = queue.rebuild(entries);
      return rebuilt;
    },
  };
  const jobs = createJobs({
    store,
    nodes,
    events,
    clock,
    log,
    queue: watched,
    power: {
      set: async () => undefined,
      cycle: async () => undefined,
      cut: async () => undefined,
      slotsOn: (slot) => [slot],
      query: async () => "unknown",
      outletOf: () => undefined,
    },
    windows: { open: () => undefined },
    images: { get: () => undefined, pathOf: () => "" },
    captures: { takeIn: async () => undefined },
    bootUrlFor: () => "http://10.64.0.1:8080",
    shellOf: () => Promise.reject(new Error("no SSH here")),
    authorizedKeys: [],
    commands: {},
    probe: async () => undefined,
  });
  await jobs.start();
  await rebuilt; // the queue is emptied first: what is added before would be there twice
  const request = { kind: "reboot", parameters: { warnSeconds: 0 }, selector: "all" } as const;
  const create = (chosen: readonly NodeId[]) =>
    jobs.create({ ...request, nodes: chosen, createdBy: "bench" }).id;

  const since = performance.now();
  const all = create(ids);
  values.stored = performance.now() - since;
  await added;
  values.dispatchable = performance.now() - since;

  const stop = obey(jobs, nodes, ids, createGather(store.transaction));
  const took = await timed(() => until(() => store.jobs.get(all)?.state === "done"));
  stop();
  values.rate = nodeCount / (took / 1000);
  values.perTask = took / nodeCount;

  const rack = create(ids.slice(0, 48));
  await until(() => store.tasks.counts(rack).every(({ state }) => state === "running"));
  values.cancel = await timed(() => jobs.cancel(rack, "bench"));
  await jobs.close();
  eventLog.close();
  await startWithSchedules();
}

function addNode(nodes: Nodes, index: number): NodeId {
  const octets = index.toString(16).padStart(6, "0");
  const mac = parseMacAddress(`52:54:00:${octets.match(/../g)?.join(":")}`);
  const { id } = nodes.heard({ mac, ipxe: false, architectures: [0], firmware: "bios-pxe" });
  nodes.enrolled(id, {
    certificate: octets,
    architecture: "amd64",
    hardware: { model: "virtual", cpus: 1, memoryMiB: 1024, disks: [], interfaces: [] },
  });
  call(nodes, id, 0);
  return id;
}

function call(nodes: Nodes, id: NodeId, boot: number): void {
  const bootId = `${id}-${boot}`;
  const usual = { role: "resident", version: "1", uptimeSeconds: 1, usedMemoryMiB: 1 } as const;
  nodes.checkIn(id, { ...usual, bootId, hostname: "x" }, ipv4FromNumber(0x0a400101));
}

/** Every node that is ordered to restart has done so at once. Check-ins are not what is measured: they share transactions. */
function obey(jobs: Jobs, nodes: Nodes, ids: readonly NodeId[], gather: Gather): () => void {
  const { signal } = new AbortController();
  const answer = async (id: NodeId) => {
    const order = await jobs.waitForAssignment(id, undefined, milliseconds(0), signal);
    if (order) await gather(() => call(nodes, id, 1));
  };
  const stop = jobs.onAssignment((id) => void answer(id));
  for (const id of ids) if (jobs.assignmentNameFor(id)) void answer(id);
  return stop;
}

/** Hours spread over the day, as people's schedules are; none is due now. */
function recurrence(index: number): string {
  return `${index % 60} ${(index * 7) % 24} ${(index % 28) + 1} * *`;
}

async function startWithSchedules(): Promise<void> {
  const path = join(directory, "schedules.db");
  const before = openSqliteStore(path);
  const due = clock.now() + 3_600_000;
  before.transaction(() => {
    for (let index = 0; index < scheduleCount; index++) {
      before.schedules.put({
        name: `schedule-${index}`,
        at: recurrence(index),
        zone: "Europe/Madrid",
        kind: "reboot",
        selector: "all",
        parameters: { warnSeconds: 0 },
        missed: "skip",
        overlap: "skip",
        isPaused: false,
        createdBy: "bench",
        createdAt: clock.now(),
        due: (due + index) as NonNullable<Schedule["due"]>,
      });
    }
  });
  before.close();
  values.scheduler = await timed(() => {
    const store = openSqliteStore(path);
    const events = createEventBus(log);
    const schedules = createSchedules({
      store,
      events,
      clock,
      log,
      nodes: createNodes({ store, events, clock, log }),
      images: { list: () => [] },
      commands: {},
      jobs: { create: () => Promise.reject(new Error("none is due")) as never },
    });
    schedules.start();
    schedules.close();
    store.close();
  });
}

/** Everything that Bull does for us, with work that is nothing. */
async function bull(redisUrl: string): Promise<void> {
  const path = new URL(redisUrl).pathname;
  const queue = new Bull("bench", {
    createClient: (_type, options) => {
      const client = new Redis({
        ...options,
        path,
        maxRetriesPerRequest: null,
        enableReadyCheck: false,
      });
      return client.on("error", () => undefined); // its server is ended before it is
    },
    defaultJobOptions: { attempts: 1, removeOnComplete: true, removeOnFail: true },
  });
  await queue.isReady();
  const entries = Array.from({ length: nodeCount }, (_, index) => ({
    data: { taskId: `task_${index}`, epoch: 0 },
  }));
  const stored = await timed(() => queue.addBulk(entries));
  values.stored = stored;
  values.dispatchable = stored;
  let left = nodeCount;
  queue.on("completed", () => {
    left -= 1;
  });
  const took = await timed(async () => {
    void queue.process(usualConcurrency, async () => undefined);
    await until(() => left === 0);
  });
  values.rate = nodeCount / (took / 1000);
  values.perTask = took / nodeCount;
  await queue.close(true);
}

async function nodeCron(): Promise<void> {
  values.scheduler = await timed(async () => {
    for (let index = 0; index < scheduleCount; index++) {
      const options = { timezone: "Europe/Madrid", unref: true };
      await createTask(recurrence(index), () => undefined, options).start();
    }
  });
}

if (contender === "node-cron") await nodeCron();
else {
  const redis = await startRedis({ directory: join(directory, "redis"), log, clock });
  await (contender === "bull" ? bull : marcoboot)(redis.url);
  await redis.close();
}
process.stdout.write(JSON.stringify(values));
process.exit(0);
