/** Jobs on a journal in memory, with a clock, a queue and outlets that do what the test says, and one agent. */

import type { Assignment, Report } from "#protocol/agent.ts";
import {
  type Ipv4Address,
  type Milliseconds,
  parseImageDigest,
  parseIpv4Address,
  parseMacAddress,
} from "#protocol/brand.ts";
import type { Image } from "#protocol/image.ts";
import type { Attempt, Job, Task } from "#protocol/job.ts";
import type { AgentRole, Node, PowerState } from "#protocol/node.ts";
import type { UploadKey } from "../../images/uploads.ts";
import { createEventBus } from "../../server/events.ts";
import { createJobs, type JobRequest, type Jobs } from "../../server/job/jobs.ts";
import type { Queue, QueueEntry } from "../../server/job/queue.ts";
import type { JobMetrics, JobPower } from "../../server/job/runner.ts";
import { silentLog } from "../../server/log.ts";
import { createNodes, type Nodes } from "../../server/node/nodes.ts";
import type { Shell } from "../../server/ssh/shell.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import type { Store } from "../../server/store/store.ts";
import { type ManualClock, manualClock, settle } from "../support/manual-clock.ts";

export const address: Ipv4Address = parseIpv4Address("10.77.0.11");
export const digest = parseImageDigest("ab".repeat(32));
export const image: Image = {
  version: 1,
  name: "debian",
  architecture: "amd64",
  format: "raw",
  compression: "zstd",
  digest,
  sizeBytes: 1 << 30,
  storedBytes: 1 << 28,
  storedDigest: "cd".repeat(32),
  bootloader: "grub",
  createdAt: 0 as Image["createdAt"],
  signature: "signature",
};
export const installRequest = {
  kind: "install",
  parameters: { image: digest, authorizedKeys: ["ssh-ed25519 AAAA admin"] },
} as const;

/** Runs what is added when the test settles; `held` keeps entries back, as a Redis that is away does. */
export interface RigQueue extends Queue {
  held: boolean;
  restore(): void;
}

export function createRigQueue(): RigQueue {
  let work: ((entry: QueueEntry) => Promise<void>) | undefined;
  const listeners = new Set<() => void>();
  const queue: RigQueue = {
    held: false,
    async add(entries) {
      if (queue.held) throw new Error("redis is away");
      await Promise.all(entries.map((entry) => work?.(entry)));
    },
    waiting: async () => 0,
    async rebuild(entries) {
      void queue.add(entries());
    },
    process(given) {
      work = given;
    },
    isConnected: () => !queue.held,
    onRestored(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    restore() {
      queue.held = false;
      for (const listener of listeners) listener();
    },
    close: async () => undefined,
  };
  return queue;
}

export interface Rig {
  readonly store: Store;
  readonly clock: ManualClock;
  readonly nodes: Nodes;
  readonly jobs: Jobs;
  readonly queue: RigQueue;
  /** Every power verb and window, in order: `cycle a1`, `window reboot`. */
  readonly verbs: string[];
  /** What the outlet says. */
  outlet: PowerState | "none";
  /** The one image of the library, and where it is stored. */
  image: Image;
  imagePath: string;
  /** What the library makes of a capture; undefined: nothing whole has come. */
  captured: (key: UploadKey) => Promise<Partial<Image> | undefined>;
  /** What SSH leads to. */
  shell: Shell | undefined;
  /** The outlet answers a question only when this resolves. */
  outletAnswers: Promise<void>;
  readonly node: Node;
  create(request?: Partial<JobRequest>): Promise<Job>;
  /** The agent calls as `role`, from the boot `bootId`. */
  checkIn(role: AgentRole, bootId: string, hostname?: string): Promise<void>;
  report(report: Partial<Report>): Promise<unknown>;
  /** Moves time with a check-in every 15 s. */
  live(seconds: number, role: AgentRole, bootId: string): Promise<void>;
  /** Moves time in silence. */
  silent(seconds: number): Promise<void>;
  task(job?: Job): Task;
  attempts(): readonly Attempt[];
  order(): Assignment | undefined;
  /** A new server process on the same journal. */
  restart(reopened?: Store): Promise<Rig>;
}

interface Kept {
  readonly store: Store;
  readonly clock: ManualClock;
  readonly verbs: string[];
  readonly outlet: PowerState | "none";
  readonly power: Partial<JobPower>;
  readonly image: Image;
  readonly metrics?: JobMetrics;
}

/** @param own - the test's own journal, clock, image and metrics, and what its outlet does other than write down its verbs */
export async function createRig(
  outlet: PowerState | "none" = "none",
  own: Partial<Pick<Kept, "store" | "clock" | "power" | "image" | "metrics">> = {},
): Promise<Rig> {
  const { store = openSqliteStore(":memory:"), clock = manualClock(), power = {} } = own;
  return await startRig({ image, ...own, store, clock, verbs: [], outlet, power });
}

async function startRig(kept: Kept): Promise<Rig> {
  const { store, clock, verbs } = kept;
  const events = createEventBus(silentLog);
  const nodes = createNodes({ store, events, clock, log: silentLog });
  const mac = parseMacAddress("52:54:00:00:00:01");
  if (!nodes.byMac(mac)) {
    nodes.heard({ mac, ipxe: false, architectures: [0], firmware: "bios-pxe" });
    const { id } = nodes.place(mac, { rack: "lab", stack: "a", slot: "1" }, "lab-a-1", address);
    nodes.enrolled(id, {
      certificate: "fingerprint",
      architecture: "amd64",
      hardware: { model: "virtual", cpus: 1, memoryMiB: 1024, disks: [], interfaces: [] },
    });
  }
  const node = () => nodes.byMac(mac) as Node;
  const queue = createRigQueue();
  let outlet = kept.outlet;
  let outletAnswers = Promise.resolve();
  const jobs = createJobs({
    store,
    nodes,
    events,
    clock,
    log: silentLog,
    queue,
    power: {
      set: async (slot, state) => void verbs.push(`${state} ${slot.stack}${slot.slot}`),
      cycle: async (slot) => void verbs.push(`cycle ${slot.stack}${slot.slot}`),
      cut: async (slot, restart) =>
        void verbs.push(`cut ${slot.stack}${slot.slot}${restart ? ", on again" : ""}`),
      slotsOn: (slot) => [slot],
      query: async () => {
        await outletAnswers;
        return outlet === "none" ? "unknown" : outlet;
      },
      outletOf: () => (outlet === "none" ? undefined : { driver: "rig", settings: {} }),
      ...kept.power,
    },
    windows: { open: (_mac, cause) => void verbs.push(`window ${cause}`) },
    images: {
      get: (wanted) => (wanted === digest ? rig.image : undefined),
      pathOf: () => rig.imagePath,
    },
    captures: {
      async takeIn(key, described, checkWanted) {
        const captured = await rig.captured(key);
        if (!captured) return undefined;
        checkWanted();
        return { ...image, ...described, ...captured };
      },
    },
    bootUrlFor: () => "http://10.77.0.1:8080",
    shellOf: async () => rig.shell ?? Promise.reject(new Error("no SSH here")),
    authorizedKeys: ["ssh-ed25519 AAAA server"],
    commands: {},
    probe: async () => undefined,
    ...(kept.metrics && { metrics: kept.metrics }),
  });
  const rig: Rig = {
    store,
    clock,
    nodes,
    jobs,
    queue,
    verbs,
    shell: undefined,
    captured: async () => undefined,
    image: kept.image,
    imagePath: "/images/debian",
    get outlet() {
      return outlet;
    },
    set outlet(state) {
      outlet = state;
    },
    get outletAnswers() {
      return outletAnswers;
    },
    set outletAnswers(answer) {
      outletAnswers = answer;
    },
    get node() {
      return node();
    },
    async create(request = {}) {
      const job = jobs.create({
        ...installRequest,
        selector: "all",
        nodes: [node().id],
        createdBy: "ada",
        ...request,
      } as JobRequest);
      await settle();
      return job;
    },
    async checkIn(role, bootId, hostname = role === "resident" ? "lab-a-1" : "netinst") {
      const usual = { version: "0.1.0", uptimeSeconds: 1, usedMemoryMiB: 1 };
      nodes.checkIn(node().id, { ...usual, role, bootId, hostname }, address);
      await settle();
    },
    async report(report) {
      const task = rig.task();
      const answer = jobs.report(node().id, {
        taskId: task.id,
        epoch: task.epoch,
        bootId: "netinst-1",
        status: "running",
        stage: "preparing",
        percent: 0,
        ...report,
      });
      await settle();
      return answer;
    },
    async live(seconds, role, bootId) {
      for (let passed = 0; passed < seconds; passed += 15) {
        await clock.advance(Math.min(15, seconds - passed) * 1000);
        nodes.markOffline();
        await rig.checkIn(role, bootId);
      }
    },
    async silent(seconds) {
      for (let passed = 0; passed < seconds; passed += 5) {
        await clock.advance(Math.min(5, seconds - passed) * 1000);
        nodes.markOffline();
        await settle();
      }
    },
    task(job) {
      const [task] = store.tasks.ofJob((job ?? store.jobs.list({ limit: 1 })[0] ?? fail()).id);
      return task ?? fail();
    },
    attempts: () => store.attempts.ofTask(rig.task().id),
    order: () => jobs.assignmentFor(node().id),
    async restart(reopened = kept.store) {
      await jobs.close();
      return await startRig({ ...kept, store: reopened, outlet });
    },
  };
  await jobs.start();
  await settle();
  return rig;
}

/** Brings the job's task to `stage`, as a node that does everything right. */
export async function bringTo(rig: Rig, stage: Task["stage"]): Promise<Rig> {
  await rig.create();
  if (stage === "waiting-for-agent") return rig;
  await rig.checkIn("netinst", "netinst-1");
  const reported = ["preparing", "writing", "verifying", "configuring", "committing"] as const;
  for (const one of reported) {
    await rig.report({ stage: one, percent: 50 });
    if (one === stage) return rig;
  }
  await rig.report({ stage: "committing", percent: 100, status: "done" });
  if (stage === "rebooting") return rig;
  await rig.silent(60);
  return rig;
}

/** The rest of the way, from any stage. */
export async function finish(rig: Rig): Promise<void> {
  const { stage } = rig.task();
  if (stage === "waiting-for-agent") await rig.checkIn("netinst", "netinst-1");
  if (stage !== "rebooting" && stage !== "first-boot") {
    await rig.report({ stage: "committing", percent: 100, status: "done" });
  }
  await rig.checkIn("resident", "disk-1");
}

export function ms(value: number): Milliseconds {
  return value as Milliseconds;
}

function fail(): never {
  throw new Error("no such thing in this rig");
}
