/** A rack of nodes that are online, with jobs on a journal in memory: each does what the test says. */

import type { Report } from "#protocol/agent.ts";
import type { NodeId } from "#protocol/brand.ts";
import { parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import type { Job, Task } from "#protocol/job.ts";
import { createEventBus } from "../../server/events.ts";
import { createJobs, type JobRequest, type Jobs } from "../../server/job/jobs.ts";
import { createSchedules, type Schedules } from "../../server/job/schedules.ts";
import { silentLog } from "../../server/log.ts";
import { createNodes, type Nodes } from "../../server/node/nodes.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import type { Store } from "../../server/store/store.ts";
import { type ManualClock, manualClock, settle } from "../support/manual-clock.ts";
import { createRigQueue, digest, image } from "./rig.ts";

export interface Crew {
  readonly store: Store;
  readonly clock: ManualClock;
  readonly nodes: Nodes;
  readonly jobs: Jobs;
  readonly schedules: Schedules;
  /** Alarms published. */
  readonly alarms: readonly string[];
  /** Outlets that were cut. */
  readonly cuts: readonly string[];
  /** Ports that were asked: `a1:22`. */
  readonly probes: readonly string[];
  /** Nodes on which no port is open. */
  readonly shut: Set<string>;
  /** A reboot of all nodes, unless said otherwise. */
  reboot(request?: Partial<JobRequest>): Job;
  /** Its state by node: `a1 running, a2 waiting`. */
  shown(job: Job): string;
  job(job: Job): Job;
  task(job: Job, name: string): Task;
  /** How often the node was started; the first time counts. */
  boots(name: string): number;
  /** The node does what it was ordered. */
  obey(...names: readonly string[]): Promise<void>;
  /** The node says that it did, without a restart. */
  succeed(...names: readonly string[]): Promise<void>;
  /** The node says that it cannot. */
  fail(...names: readonly string[]): Promise<void>;
  /** Moves time; every node but these checks in. */
  pass(seconds: number, silent?: readonly string[]): Promise<void>;
  /** A new server process on the same journal, `off` seconds after the old one ended. */
  restart(off?: number): Promise<Crew>;
}

interface Kept {
  readonly store: Store;
  readonly clock: ManualClock;
  readonly boots: Map<string, number>;
  readonly shut: Set<string>;
}

/** Of the configuration. */
const commands = {
  ready: { argv: ["check-ready"], values: {}, timeoutSeconds: 60 },
  "apt-install": {
    argv: ["apt-get", "install", "{package}"],
    values: { package: "[a-z]+" },
    timeoutSeconds: 60,
  },
};

/** @param stacks - how many nodes each stack has */
export async function createCrew(
  stacks: Readonly<Record<string, number>> = { a: 4 },
  start?: string,
): Promise<Crew> {
  const clock = manualClock(start === undefined ? undefined : Date.parse(start));
  const store = openSqliteStore(":memory:");
  const kept: Kept = { store, clock, boots: new Map(), shut: new Set() };
  const nodes = createNodes({ ...kept, events: createEventBus(silentLog), log: silentLog });
  let count = 0;
  for (const [stack, size] of Object.entries(stacks)) {
    for (let slot = 1; slot <= size; slot++) {
      count += 1;
      const mac = parseMacAddress(`52:54:00:00:00:${count.toString(16).padStart(2, "0")}`);
      const place = { rack: "lab", stack, slot: `${slot}` };
      const address = parseIpv4Address(`10.77.0.${count}`);
      nodes.heard({ mac, ipxe: false, architectures: [0], firmware: "bios-pxe" });
      const { id } = nodes.place(mac, place, `${stack}${slot}`, address);
      nodes.enrolled(id, {
        certificate: `fingerprint ${count}`,
        architecture: "amd64",
        hardware: { model: "virtual", cpus: 1, memoryMiB: 1024, disks: [], interfaces: [] },
      });
      kept.boots.set(`${stack}${slot}`, 1);
    }
  }
  return await startCrew(kept);
}

async function startCrew(kept: Kept): Promise<Crew> {
  const { store, clock, boots } = kept;
  const events = createEventBus(silentLog);
  const alarms: string[] = [];
  const cuts: string[] = [];
  const probes: string[] = [];
  events.on("alarm", ({ text }) => void alarms.push(text));
  const nodes = createNodes({ store, events, clock, log: silentLog });
  const jobs = createJobs({
    store,
    nodes,
    events,
    clock,
    log: silentLog,
    queue: createRigQueue(),
    power: {
      set: async () => undefined,
      cycle: async () => undefined,
      cut: async ({ stack, slot }, restart) => {
        cuts.push(`${stack}${Math.ceil(Number(slot) / 2)}${restart ? ", on again" : ""}`);
      },
      slotsOn: (one) => {
        const first = Math.ceil(Number(one.slot) / 2) * 2 - 1;
        return [first, first + 1].map((number) => ({ ...one, slot: `${number}` }));
      },
      query: async () => "unknown",
      // One outlet feeds two slots.
      outletOf: ({ stack, slot }) => ({
        driver: "rig",
        settings: { outlet: `${stack}${Math.ceil(Number(slot) / 2)}` },
      }),
    },
    windows: { open: () => undefined },
    images: {
      get: (wanted) => (wanted === digest ? image : undefined),
      pathOf: (wanted) => `/images/${wanted}`,
    },
    captures: { takeIn: async () => undefined },
    bootUrlFor: () => "http://10.77.0.1:8080",
    shellOf: async () => Promise.reject(new Error("no SSH here")),
    authorizedKeys: ["ssh-ed25519 AAAA server"],
    commands,
    probe: async ({ name }, { port }) => {
      probes.push(`${name}:${port}`);
      return kept.shut.has(name) ? `port:${port} of ${name}: connection refused` : undefined;
    },
  });
  const schedules = createSchedules({
    store,
    nodes,
    jobs,
    events,
    clock,
    log: silentLog,
    commands,
    images: { list: () => [image] },
  });
  const idOf = (name: string): NodeId => {
    const node = nodes.byName(name);
    if (!node?.address) throw new Error(`no node ${name} here`);
    return node.id;
  };
  const call = (name: string): void => {
    const bootId = `boot-${boots.get(name)}`;
    const usual = { version: "0.1.0", uptimeSeconds: 1, usedMemoryMiB: 1 };
    nodes.checkIn(
      idOf(name),
      { ...usual, role: "resident", hostname: name, bootId },
      parseIpv4Address("10.77.0.1"),
    );
  };
  const answer = async (
    names: readonly string[],
    said: Pick<Report, "status" | "reason">,
  ): Promise<void> => {
    await settle();
    for (const name of names) {
      const order = jobs.assignmentFor(idOf(name));
      if (!order) throw new Error(`${name} has no order`);
      jobs.report(idOf(name), {
        taskId: order.taskId,
        epoch: order.epoch,
        bootId: `boot-${boots.get(name)}`,
        stage: "requested",
        percent: 0,
        ...said,
      });
      await settle();
    }
  };
  for (const name of boots.keys()) call(name);
  await jobs.start();
  schedules.start();
  await settle();

  const crew: Crew = {
    store,
    clock,
    nodes,
    jobs,
    schedules,
    alarms,
    cuts,
    probes,
    shut: kept.shut,
    reboot: (request = {}) =>
      jobs.create({
        kind: "reboot",
        parameters: { warnSeconds: 0 },
        selector: "all",
        nodes: [...boots.keys()].map(idOf),
        createdBy: "ada",
        ...request,
      } as JobRequest),
    shown: (job) =>
      store.tasks
        .ofJob(job.id)
        .map(({ nodeId, state }) => `${nodes.get(nodeId)?.name} ${state}`)
        .join(", "),
    job: ({ id }) => store.jobs.get(id) as Job,
    task: ({ id }, name) =>
      store.tasks.ofJob(id).find(({ nodeId }) => nodeId === idOf(name)) as Task,
    boots: (name) => boots.get(name) ?? 0,
    async obey(...names) {
      await settle();
      for (const name of names) {
        if (!jobs.assignmentFor(idOf(name))) throw new Error(`${name} has no order`);
        boots.set(name, (boots.get(name) ?? 0) + 1);
        call(name);
        await settle();
      }
    },
    succeed: (...names) => answer(names, { status: "done" }),
    fail: (...names) => answer(names, { status: "failed", reason: "no reboot for me" }),
    async pass(seconds, silent = []) {
      for (let passed = 0; passed < seconds; passed += 15) {
        await clock.advance(Math.min(15, seconds - passed) * 1000);
        for (const name of boots.keys()) if (!silent.includes(name)) call(name);
        nodes.markOffline();
        await settle();
      }
    },
    async restart(off = 0) {
      schedules.close();
      await jobs.close();
      await clock.advance(off * 1000);
      return await startCrew(kept);
    },
  };
  return crew;
}
