/**
 * What the demonstration proves, step by step: a rack of empty disks is learned,
 * installed, rebooted and shut down; planned.ts has what comes between. Everything is
 * asked of the server's public API; what must hold is then checked without it: by the
 * serial console, by QEMU's way of ending, by boot ids.
 */

import type { Image, ImageFormat } from "#protocol/image.ts";
import type { Job, JobKindName, Task } from "#protocol/job.ts";
import type { LearningStatus } from "#protocol/learning.ts";
import type { Node } from "#protocol/node.ts";
import { type GuestFirmware, guestArchitecture } from "../lab/qemu.ts";
import type { LabNode, VirtualRack } from "../lab/virtual-rack.ts";
import { rackFileOf } from "../lab/virtual-rack.ts";
import type { World } from "../lab/world.ts";
import type { Permits } from "./permits.ts";

/** One node of the summary. */
export interface NodeSummary {
  readonly name: string;
  readonly firmware: GuestFirmware;
  readonly mac: string;
  readonly slot: string;
  readonly address: string;
  readonly installSeconds: number;
  readonly stages: Readonly<Record<string, number>>;
  readonly bytesOverTftp: number;
  readonly bytesOverHttp: number;
  readonly ramMiB: number;
}

export type ImageFiles = ReadonlyMap<string, ImageFile>;
export interface ImageFile {
  readonly path: string;
  readonly format: ImageFormat;
  readonly architecture: "amd64" | "arm64";
  readonly bootloader: "grub" | "raspberry-pi";
  /** Of a root file system: two slots of so many MiB each, the rest of the disk is data. */
  readonly rootMiB?: number;
}

/** Something that had to hold and did not. */
export class DemoFailure extends Error {
  /** Outlet whose console tells more. */
  readonly outlet: string | undefined;
  constructor(message: string, outlet?: string, options?: ErrorOptions) {
    super(message, options);
    this.outlet = outlet;
  }
}

export interface Scenario {
  readonly rack: VirtualRack;
  readonly world: World;
  /** Guests that may be busy at once; more than there are cores only slows all of them. */
  readonly atOnce: number;
  readonly say: (line: string) => void;
}

const minute = 60_000;
/** Three times and more of what emulation took (design measurements: learning 30 s, netboot 100 s, cycle 170 s). */
export const limits = {
  learning: 12 * minute,
  ready: 12 * minute,
  install: 45 * minute, // a Raspberry Pi's USB network gives 0.2-0.5 MB/s; the others need 3-5 minutes
  reboot: 12 * minute,
  shutdown: 6 * minute,
  powerOff: 3 * minute,
  planned: 4 * minute, // without a restart: copying a file, running a command, waiting for a minute of the clock
} as const;

/** Nobody else is on the rack's network. */
const quietSeconds = 2;

/** Library name of the image a firmware gets. */
export function imageNameFor(firmware: GuestFirmware): string {
  if (firmware === "raspberry-pi-3") return "debian-minbase-raspberry-pi";
  return `debian-minbase-${guestArchitecture(firmware)}`;
}

export async function addImages({ rack, say }: Scenario, images: ImageFiles): Promise<void> {
  for (const [name, { path, format, architecture, bootloader, rootMiB }] of images) {
    say(`image ${name}: uploading and checking`);
    const query = new URLSearchParams({
      ...{ name, architecture, bootloader, format },
      ...(rootMiB !== undefined && { rootMiB: `${rootMiB}`, data: "/srv" }),
    });
    const image = await rack.api.upload<Image>(`/api/v1/images?${query}`, path);
    say(`image ${name}: ${mebibytes(image.sizeBytes)}, stored as ${mebibytes(image.storedBytes)}`);
  }
}

/** Powers the slots in turn; every node must then be in the slot its outlet belongs to. */
export async function learnRack({ rack, world, say }: Scenario): Promise<void> {
  const file = rackFileOf(rack.nodes, rack.strip.socket);
  await rack.api.send("PUT", `/api/v1/racks/${rack.rackName}`, file);
  say("learning: one outlet after the other");
  await rack.api.send("POST", "/api/v1/learnings", { rack: rack.rackName, quietSeconds });
  for (;;) {
    const status = await rack.api.get<LearningStatus>("/api/v1/learnings/current");
    if (status.state === "failed" || status.state === "cancelled") {
      throw new DemoFailure(`learning ${status.state}: ${status.reason ?? ""}`);
    }
    if (status.state === "done") break;
    await pause(1000);
  }
  // asked, it has the answer before its events have come
  await world.until("every board in a slot", limits.planned, () =>
    rack.nodes.every(({ guest }) => world.nodes.get(guest.mac)?.slot) ? true : undefined,
  );
  for (const node of rack.nodes) {
    const known = world.nodes.get(node.guest.mac);
    const slot = known?.slot && `${known.slot.stack}/${known.slot.slot}`;
    if (slot !== `${node.stack}/${node.slot}`) {
      throw new DemoFailure(
        `${node.guest.mac} is in ${slot ?? "no slot"}, not in ${node.stack}/${node.slot}`,
        node.outlet,
      );
    }
  }
  rack.strip.forgetExits();
  const addresses = new Set(rack.nodes.map((node) => world.nodes.get(node.guest.mac)?.address));
  if (addresses.size !== rack.nodes.length || addresses.has(undefined)) {
    throw new DemoFailure("two nodes have one address");
  }
  say("learning: every node is in its slot");
}

/** Nodes of a stack that get one image. */
export interface Group {
  readonly image: string;
  readonly nodes: readonly LabNode[];
}

/** The nodes of a stack need not be alike. */
export function groupsOf(nodes: readonly LabNode[]): readonly Group[] {
  const byStack = Map.groupBy(nodes, ({ stack }) => stack);
  return [...byStack.values()].flatMap((members) =>
    [...Map.groupBy(members, ({ guest }) => imageNameFor(guest.firmware))].map(
      ([image, group]): Group => ({ image, nodes: group }),
    ),
  );
}

/**
 * Waits until the nodes are ready and installs them; cores are taken from `permits`.
 *
 * @param first - nodes whose turn comes before: who wants all cores would wait for the others else
 */
export async function installGroup(
  scenario: Scenario,
  { image, nodes }: Group,
  permits: Permits,
  first: readonly LabNode[] = [],
): Promise<void> {
  await Promise.all([...nodes, ...first].map((member) => untilReady(scenario, member)));
  scenario.say(`ready: ${nodes.map(({ hostname }) => hostname).join(", ")}`);
  await permits.holding(nodes.length, () => installNodes(scenario, nodes, image));
}

/** Netbooted, discovered and enrolled. */
export async function untilReady({ world }: Scenario, member: LabNode): Promise<Node> {
  return await world.until(`${member.hostname} ready`, limits.ready, () => {
    const node = world.nodes.get(member.guest.mac);
    if (node?.quarantined) {
      throw new DemoFailure(`${member.hostname} is held back: ${node.reason}`, member.outlet);
    }
    return node?.state === "ready" && node.connection === "online" ? node : undefined;
  });
}

export async function installNodes(
  scenario: Scenario,
  group: readonly LabNode[],
  image: string,
): Promise<void> {
  const parameters = { image, authorizedKeys: [] };
  const job = await createJob(scenario, group, "install", parameters);
  await untilDone(scenario, job, group, limits.install);
  for (const member of group) checkInstalled(scenario, member);
}

/** The installed system itself has called, under its new name, and says so on its console. */
export function checkInstalled({ world, rack }: Scenario, member: LabNode): void {
  const node = world.nodes.get(member.guest.mac);
  const { hostname, outlet } = member;
  if (node?.state !== "installed" || node.agent?.role !== "resident") {
    throw new DemoFailure(`${hostname} is ${node?.state}, its agent ${node?.agent?.role}`, outlet);
  }
  if (node.agent.hostname !== hostname) {
    throw new DemoFailure(`${hostname} calls itself ${node.agent.hostname}`, outlet);
  }
  if (node.image === undefined) throw new DemoFailure(`${hostname} has no image on record`, outlet);
  if (rack.strip.exits(outlet).some(({ cause }) => cause === "power-cut" || cause === "crashed")) {
    throw new DemoFailure(`${hostname} lost its power on the way`, outlet);
  }
}

export async function rebootNodes(scenario: Scenario, group: readonly LabNode[]): Promise<void> {
  const { world } = scenario;
  const bootIdOf = (member: LabNode) => world.nodes.get(member.guest.mac)?.agent?.bootId;
  const before = new Map(group.map((member) => [member, bootIdOf(member)]));
  const job = await createJob(scenario, group, "reboot", { warnSeconds: 0 });
  await untilDone(scenario, job, group, limits.reboot);
  for (const member of group) {
    if (bootIdOf(member) === before.get(member)) {
      throw new DemoFailure(`${member.hostname} has the boot id it had before`, member.outlet);
    }
    checkInstalled(scenario, member);
    await scenario.world.until(
      `login prompt of ${member.hostname}`,
      limits.powerOff,
      () =>
        scenario.rack.strip.hasSaid(member.outlet, new RegExp(`\\b${member.hostname} login:`)) ||
        undefined,
    );
  }
}

export async function shutDownNodes(scenario: Scenario, group: readonly LabNode[]): Promise<void> {
  const { world, rack } = scenario;
  const job = await createJob(scenario, group, "shutdown", { warnSeconds: 0 });
  await untilDone(scenario, job, group, limits.shutdown);
  for (const { hostname, outlet } of group) {
    const exit = await world.until(`power-off of ${hostname}`, limits.powerOff, () =>
      rack.strip.state(outlet) === "off" ? rack.strip.exits(outlet).at(-1) : undefined,
    );
    if (exit.cause !== "guest-shutdown") {
      throw new DemoFailure(`${hostname} ended by ${exit.cause}, not by its own power-off`, outlet);
    }
  }
}

export async function createJob(
  scenario: Scenario,
  group: readonly LabNode[],
  kind: JobKindName,
  parameters: object,
  planned: object = {},
): Promise<Job> {
  const { rack, say } = scenario;
  const selector = selectorOf(scenario, group);
  say(`${kind}: ${group.map((member) => member.hostname).join(", ")}`);
  const request = { kind, selector, parameters, ...planned };
  return await rack.api.send<Job>("POST", "/api/v1/jobs", request);
}

export function selectorOf(scenario: Scenario, group: readonly LabNode[]): string {
  return group.map((member) => nodeOf(scenario, member).id).join(",");
}

/** As the server knows it. @throws DemoFailure */
export function nodeOf({ world }: Scenario, { guest, hostname, outlet }: LabNode): Node {
  const node = world.nodes.get(guest.mac);
  if (!node) throw new DemoFailure(`the server knows no ${hostname}`, outlet);
  return node;
}

/** @throws DemoFailure with the reason of the task that failed. */
export async function untilDone(
  { world }: Scenario,
  job: Job,
  group: readonly LabNode[],
  withinMs: number,
): Promise<void> {
  await world.until(`${job.kind} job ${job.id}`, withinMs, () => {
    const state = world.jobs.get(job.id)?.state;
    if (state === "done") return true;
    if (state !== "failed" && state !== "cancelled") return undefined;
    const bad = tasksOf(world, job).find((task) => task.state !== "done");
    const member = group.find(({ guest }) => world.nodes.get(guest.mac)?.id === bad?.nodeId);
    const where = `${member?.hostname ?? "a node"} in ${bad?.stage ?? "the beginning"}`;
    throw new DemoFailure(`${job.kind} ${state}: ${where}: ${bad?.reason ?? ""}`, member?.outlet);
  });
}

export function tasksOf(world: World, job: Job): readonly Task[] {
  return [...world.tasks.values()].filter((task) => task.jobId === job.id);
}

export function summaryOf({ world }: Scenario, member: LabNode): NodeSummary {
  const { mac, firmware, memoryMiB } = member.guest;
  const node = world.nodes.get(mac);
  const task = [...world.tasks.values()].find(
    (one) => one.nodeId === node?.id && one.kind === "install",
  );
  const ended = task?.endedAt ?? 0;
  return {
    name: member.hostname,
    firmware,
    mac,
    slot: `${member.stack}/${member.slot}`,
    address: node?.address ?? "",
    installSeconds: Math.round((ended - (task?.startedAt ?? ended)) / 1000),
    stages: roundedSeconds(task?.stageSeconds ?? {}),
    bytesOverTftp: world.bytesTo(mac, "tftp"),
    bytesOverHttp: world.bytesTo(mac, "http"),
    ramMiB: memoryMiB,
  };
}

function roundedSeconds(stages: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(stages).map(([stage, seconds]) => [stage, Math.round(seconds * 10) / 10]),
  );
}

function mebibytes(octets: number): string {
  return `${Math.round(octets / 1024 ** 2)} MiB`;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
