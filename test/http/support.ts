/** The admin listener over a journal in memory and rooms that only remember what they were asked. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type ImageDigest,
  type Instant,
  instant,
  type JobId,
  type Milliseconds,
  type NodeId,
  parseImageDigest,
  parseIpv4Address,
  parseMacAddress,
  type TaskId,
} from "#protocol/brand.ts";
import type { Image } from "#protocol/image.ts";
import type { Job, Rollout, Task } from "#protocol/job.ts";
import type { Node, NodeState } from "#protocol/node.ts";
import type { Rack } from "#protocol/rack.ts";
import type { Clock } from "../../server/clock.ts";
import { type Config, parseConfig } from "../../server/config.ts";
import { NotFoundError } from "../../server/errors.ts";
import { createEventBus, type EventBus } from "../../server/events.ts";
import { startAdmin } from "../../server/http/admin.ts";
import { hashPassword, hashToken } from "../../server/http/auth.ts";
import type { Services } from "../../server/http/services.ts";
import { createSchedules } from "../../server/job/schedules.ts";
import { silentLog } from "../../server/log.ts";
import { createMetrics } from "../../server/metrics.ts";
import { createNodes } from "../../server/node/nodes.ts";
import { createWatching, type Watching } from "../../server/node/watching.ts";
import { plainSecrets } from "../../server/power/secrets.ts";
import { createRacks } from "../../server/rack/racks.ts";
import { createRules } from "../../server/rule/rules.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import type { Store, User } from "../../server/store/store.ts";

export const start = instant(1_700_000_000_000);

/** Time stands still unless a test moves it; sleeps end on the next turn of the loop. */
export interface TestClock extends Clock {
  move(milliseconds: number): void;
}

export function testClock(): TestClock {
  let passed = 0;
  return {
    now: () => instant(start + passed),
    monotonic: () => passed as Milliseconds,
    sleep: () => new Promise((resolve) => setImmediate(resolve)),
    every: () => () => undefined,
    move: (milliseconds) => {
      passed += milliseconds;
    },
  };
}

export const digest: ImageDigest = parseImageDigest("ab".repeat(32));

export const image: Image = {
  version: 1,
  name: "debian-12",
  architecture: "amd64",
  format: "raw",
  compression: "zstd",
  digest,
  sizeBytes: 1_400_000_000,
  storedBytes: 180_000_000,
  storedDigest: "cd".repeat(32),
  bootloader: "grub",
  createdAt: start,
  signature: "c2lnbmF0dXJl",
};

export const rack: Rack = {
  name: "lab",
  stacks: ["a", "b", "c"].map((name, x) => ({
    name,
    x,
    y: 0,
    slots: ["1", "2", "3", "4"].map((slot) => ({
      name: slot,
      hostname: `lab-${name}-${slot}`,
      outlet: { driver: "manual", settings: {} },
    })),
  })),
};

export function makeNode(stack: string, slot: string, state: NodeState = "ready"): Node {
  const number = (stack.charCodeAt(0) - 96) * 16 + Number(slot);
  return {
    id: `node_${stack}${slot}` as NodeId,
    name: `lab-${stack}-${slot}`,
    mac: parseMacAddress(`52:54:00:00:00:${number.toString(16).padStart(2, "0")}`),
    state,
    quarantined: false,
    power: "on",
    connection: "online",
    architecture: "amd64",
    firmware: "uefi-pxe-x64",
    slot: { rack: "lab", stack, slot },
    address: parseIpv4Address(`10.77.0.${number}`),
    hardware: {
      model: "QEMU Standard PC",
      cpus: 2,
      memoryMiB: 1024,
      disks: [{ name: "vda", sizeBytes: 4_294_967_296, removable: false }],
      interfaces: [],
    },
    createdAt: start,
    updatedAt: start,
  };
}

/** @param calls - gets a line for each call of a room */
function makeRooms(context: { store: Store; events: EventBus; clock: Clock; calls: string[] }) {
  const { store, events, clock, calls } = context;
  let jobs = 0;
  const publishJob = (job: Job): Job => {
    store.jobs.put(job);
    events.publish({ topic: "job", job });
    return job;
  };
  return {
    jobs: {
      create: (request) => {
        jobs += 1;
        const { nodes, rollout, ...rest } = request;
        calls.push(`create ${request.kind} ${nodes.length}`);
        const id = `job_${jobs}` as JobId;
        const now = clock.now();
        const job = publishJob({
          ...rest,
          ...(rollout && { rollout: rollout as Rollout }),
          ...{ id, state: "queued", createdAt: now },
        });
        for (const nodeId of nodes) {
          const task: Task = {
            id: `task_${jobs}_${nodeId}` as TaskId,
            jobId: id,
            nodeId,
            kind: job.kind,
            state: "queued",
            epoch: 0,
            percent: 0,
            stageSeconds: {},
            createdAt: now,
          };
          store.tasks.put(task);
          events.publish({ topic: "task", task });
        }
        return job;
      },
      cancelTask: (id, by) => {
        calls.push(`cancel ${id} by ${by}`);
        return store.tasks.get(id) as Task;
      },
      pause: (id, by, reason) => {
        calls.push(`pause ${id} by ${by}: ${reason}`);
        return store.jobs.get(id) as Job;
      },
      resume: (id, by) => {
        calls.push(`resume ${id} by ${by}`);
        return store.jobs.get(id) as Job;
      },
      retry: (id, by) => {
        calls.push(`retry ${id} by ${by}`);
        return store.jobs.get(id) as Job;
      },
      cancel: (id, by) => {
        calls.push(`cancel ${id} by ${by}`);
        const job = store.jobs.get(id);
        if (!job) throw new Error("the route looks it up first");
        return publishJob({ ...job, state: "cancelled" });
      },
    },
    leases: {
      list: () => store.leases.list(),
      forget: (mac) => void calls.push(`forget ${mac}`),
    },
    power: {
      set: async (slot, state, who) =>
        void calls.push(`power ${Object.values(slot).join("/")} ${state} by ${who}`),
      cut: async (slot, restart) =>
        void calls.push(`cut ${Object.values(slot).join("/")}${restart ? ", on again" : ""}`),
      slotsOn: (one) => {
        const rack = store.racks.get(one.rack);
        const stack = rack?.stacks.find(({ name }) => name === one.stack);
        return stack?.outlet ? stack.slots.map(({ name }) => ({ ...one, slot: name })) : [one];
      },
      query: async () => "on",
    },
    learning: {
      start: ({ rack: name }) => {
        calls.push(`learn ${name}`);
        if (!store.racks.get(name)) throw new NotFoundError(`no rack ${name}`);
        return { id: "learning_1" };
      },
      preview: () => ({ outlets: ["a/1"], slots: 1, nodes: [], secondsAtMost: 1 }),
      cancel: async () => void calls.push("cancel learning"),
      status: () => ({ state: "idle", slots: [], flagged: [] }),
      confirm: (targets) => ({ done: targets }),
      keep: (targets) => ({ done: targets }),
      swap: (one, other) => ({ done: [one, other] }),
      place: (mac, slot) => ({ done: [mac, slot] }),
    },
    library: {
      add: async ({ name }, onProgress) => {
        calls.push(`add ${name}`);
        onProgress?.(50);
        onProgress?.(100);
        store.images.put({ ...image, name });
        return { ...image, name };
      },
      get: (wanted) => store.images.get(wanted),
      list: () => store.images.list(),
      remove: async (wanted) => store.images.delete(wanted),
    },
    notifier: {
      channels: [{ name: "mail", on: ["job-failed"] }],
      test: async (name) => void calls.push(`test ${name}`),
    },
    site: { serverKey: "key", keyId: "id", authorityPem: "certificate" },
    windows: {
      approve: (mac, code) =>
        void calls.push(`approve ${mac}${code === undefined ? "" : ` ${code}`}`),
    },
  } satisfies Partial<Services>;
}

export interface TestServer {
  readonly url: string;
  readonly directory: string;
  readonly socketPath: string;
  readonly setupCode: string | undefined;
  readonly store: Store;
  readonly events: EventBus;
  readonly clock: TestClock;
  /** What the rooms were asked, in order. */
  readonly calls: readonly string[];
  readonly watching: Watching;
  /** @param path - with its leading slash */
  fetch(path: string, options?: RequestInit & { token?: string }): Promise<Response>;
  close(): Promise<void>;
}

export const tokens = { viewer: "mb_viewer", operator: "mb_operator", admin: "mb_admin" } as const;
export const password = "correct horse battery";

export interface TestServerOptions {
  /** Without: no user exists, as at the very first start. */
  readonly users?: boolean;
  readonly stock?: boolean;
}

export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const directory = mkdtempSync(join(tmpdir(), "marcoboot-http-"));
  const store = openSqliteStore(":memory:");
  const events = createEventBus(silentLog);
  const clock = testClock();
  const calls: string[] = [];
  if (options.users ?? true) await addUsers(store);
  if (options.stock ?? true) stock(store);
  const nodes = createNodes({ store, events, clock, log: silentLog });
  const watching = createWatching(clock);
  const config = testConfig(directory);
  const racks = createRacks({
    store,
    power: { probe: async () => "off" },
    secrets: plainSecrets,
    config,
    ownAddresses: [],
  });
  const rooms = makeRooms({ store, events, clock, calls });
  const admin = await startAdmin({
    ...rooms,
    schedules: createSchedules({
      store,
      nodes,
      commands: {},
      images: rooms.library,
      jobs: rooms.jobs,
      events,
      clock,
      log: silentLog,
    }),
    rules: createRules({
      store,
      jobs: rooms.jobs,
      whyWait: () => undefined,
      clock,
      log: silentLog,
    }),
    config,
    racks,
    store,
    nodes,
    watching,
    events,
    clock,
    log: silentLog,
    metrics: createMetrics({ store, nodes, events }).registry,
  });
  const url = `http://127.0.0.1:${admin.port}`;
  return {
    url,
    directory,
    socketPath: join(directory, "admin.sock"),
    setupCode: admin.setupCode,
    store,
    events,
    clock,
    calls,
    watching,
    fetch: (path, { token, headers, ...rest } = {}) =>
      fetch(url + path, {
        ...rest,
        headers: {
          // on a busy machine a connection may be older than the server keeps it
          Connection: "close",
          ...(typeof rest.body === "string" && { "Content-Type": "application/json" }),
          ...(token !== undefined && { Authorization: `Bearer ${token}` }),
          ...(headers as Record<string, string> | undefined),
        },
      }),
    async close() {
      await admin.close();
      store.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function testConfig(directory: string): Config {
  const config = parseConfig(
    `subnets: [{ cidr: 10.77.0.0/24, interface: lo, reserved: [10.77.0.10, 10.77.0.99] }]`,
    join(directory, "marcoboot.yaml"),
  );
  return { ...config, stateDirectory: directory, netinstDirectory: directory, adminPort: 0 };
}

const passwordHash = hashPassword(password); // slow on purpose: once is enough

async function addUsers(store: Store): Promise<void> {
  const hash = await passwordHash;
  for (const role of ["viewer", "operator", "admin"] as const satisfies User["role"][]) {
    store.users.put({ name: role, password: hash, role, createdAt: start });
    store.apiTokens.put({
      hash: hashToken(tokens[role]),
      user: role,
      name: "session",
      createdAt: start,
      expiresAt: (start + 3_600_000) as Instant,
    });
  }
}

function stock(store: Store): void {
  store.racks.put(rack);
  store.images.put(image);
  for (const stack of ["a", "b"]) {
    for (const slot of ["1", "2", "3", "4"]) store.nodes.put(makeNode(stack, slot));
  }
}
