/**
 * What the demonstration shows of planned work, on nodes that are installed: a roll-out that its
 * canary stops, a task that is cancelled, a rolling update that keeps what is a node's own, and a
 * reboot by a schedule in a recurring window. As in scenario.ts all is asked of the public API,
 * and a step that does not hold throws.
 */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Image } from "#protocol/image.ts";
import type { Job, Task } from "#protocol/job.ts";
import type { Schedule, Window } from "#protocol/schedule.ts";
import type { LabNode } from "../lab/virtual-rack.ts";
import {
  checkInstalled,
  createJob,
  DemoFailure,
  limits,
  nodeOf,
  type Scenario,
  selectorOf,
  tasksOf,
  untilDone,
} from "./scenario.ts";

/** Members of the demonstration's summary. */
export interface PlannedSteps {
  /** A faulty setting stopped at the first node. */
  readonly canary?: {
    readonly node: string;
    readonly reason: string;
    readonly untouched: readonly string[];
  };
  /** A reboot that users were warned of, called off. */
  readonly cancelled?: { readonly node: string; readonly withinMs: number };
  readonly update?: {
    readonly nodes: readonly string[];
    readonly image: string;
    readonly kept: string;
    readonly seconds: number;
  };
  readonly window?: {
    readonly name: string;
    readonly opens: string;
    readonly nodes: readonly string[];
    /** From the time it was due to the job's beginning. */
    readonly secondsLate: number;
    /** When it opens again. */
    readonly next: string;
  };
}

const settingPath = "/etc/app.conf";
const good = "mode=steady\n";
const faulty = "mode=\n";

/** Commands of the server's configuration. */
export const demoCommands = {
  "app-check": { argv: ["grep", "-qx", good.trim(), settingPath] },
  "app-version": { argv: ["cat", "/etc/app-version"] },
};
/** What the second version of an image has and the first has not. */
export const secondVersion: ReadonlyMap<string, string> = new Map([
  ["etc/app-version", "2\n"],
  ["etc/app.conf", "mode=factory\n"],
]);

const settings = { good: "app.conf", faulty: "app.conf-faulty" } as const;
const health = ["online", "port:22", "app-check"] as const;

/** Files that `copy` brings to nodes. */
export async function addSettings({ rack, say }: Scenario): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "marcoboot-demo-"));
  try {
    for (const [name, text] of [
      [settings.good, good],
      [settings.faulty, faulty],
    ] as const) {
      writeFileSync(join(directory, name), text);
      const query = new URLSearchParams({ name, architecture: "amd64", format: "file" });
      await rack.api.upload<Image>(`/api/v1/images?${query}`, join(directory, name));
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  say(`files ${settings.good} and ${settings.faulty}: in the library`);
}

/** A faulty setting goes to the canary, which does not pass its check: nobody else gets it. */
export async function stopAtCanary(
  scenario: Scenario,
  group: readonly LabNode[],
): Promise<NonNullable<PlannedSteps["canary"]>> {
  const { world, rack, say } = scenario;
  const [canary, ...rest] = group;
  if (!canary || rest.length === 0) throw new DemoFailure("a roll-out wants two nodes");
  await copy(scenario, group, settings.good);
  const job = await createJob(
    scenario,
    group,
    "copy",
    { image: settings.faulty, path: settingPath },
    { rollout: { canary: 1, failures: 0, settleSeconds: 1, health } },
  );
  const paused = await world.until(`pause of roll-out ${job.id}`, limits.planned, () => {
    const now = world.jobs.get(job.id);
    if (now?.endedAt !== undefined)
      throw new DemoFailure(`the roll-out went through: ${now.state}`);
    return now?.paused;
  });
  const [first, ...others] = tasksOf(world, job);
  const reason = first?.reason ?? "";
  if (paused.by !== "server" || first?.state !== "failed" || !reason.includes("app-check")) {
    throw new DemoFailure(`the canary is ${first?.state}: ${reason}`, canary.outlet);
  }
  say(`canary ${canary.hostname}: ${reason}`);
  say(`roll-out paused: ${paused.reason}; ${others.length} waiting`);
  await rack.api.send("POST", `/api/v1/jobs/${job.id}/cancel`);
  await world.until(`end of roll-out ${job.id}`, limits.planned, () =>
    world.jobs.get(job.id)?.endedAt === undefined ? undefined : true,
  );
  const begun = tasksOf(world, job).filter(({ epoch }) => epoch > 0);
  if (begun.length !== 1) throw new DemoFailure(`${begun.length} nodes got the faulty setting`);
  await runCommand(scenario, rest, "app-check");
  await copy(scenario, [canary], settings.good);
  say(`the others are untouched; ${canary.hostname} has its setting back`);
  return { node: canary.hostname, reason, untouched: rest.map(({ hostname }) => hostname) };
}

/** A reboot is called off while users are being warned: the node goes on. */
export async function cancelWarnedReboot(
  scenario: Scenario,
  member: LabNode,
): Promise<NonNullable<PlannedSteps["cancelled"]>> {
  const { world, rack, say } = scenario;
  const before = nodeOf(scenario, member).agent?.bootId;
  const job = await createJob(scenario, [member], "reboot", { warnSeconds: 600 });
  await world.until(`warning on ${member.hostname}`, limits.planned, () =>
    tasksOf(world, job).some(({ state, stage }) => state === "running" && stage === "rebooting")
      ? true
      : undefined,
  );
  const asked = performance.now();
  await rack.api.send("POST", `/api/v1/jobs/${job.id}/cancel`);
  await world.until(`cancellation of ${job.id}`, limits.planned, () =>
    world.jobs.get(job.id)?.state === "cancelled" ? true : undefined,
  );
  const withinMs = Math.round(performance.now() - asked);
  await runCommand(scenario, [member], "app-check"); // it still works
  if (nodeOf(scenario, member).agent?.bootId !== before) {
    throw new DemoFailure(`${member.hostname} rebooted though that was cancelled`, member.outlet);
  }
  say(`reboot of ${member.hostname} cancelled within ${withinMs} ms, in the users' ten minutes`);
  return { node: member.hostname, withinMs };
}

/** One node after the other gets the next version of its system, and keeps its setting. */
export async function rollUpdate(
  scenario: Scenario,
  group: readonly LabNode[],
  image: string,
): Promise<NonNullable<PlannedSteps["update"]>> {
  const { world, say } = scenario;
  const began = performance.now();
  const before = group.map((member) => nodeOf(scenario, member).image);
  const job = await createJob(
    scenario,
    group,
    "update",
    { image, keep: [settingPath] },
    { rollout: { canary: 1, batch: 1, failures: 0, settleSeconds: 1, health } },
  );
  await untilDone(scenario, job, group, limits.install);
  for (const [index, member] of group.entries()) {
    checkInstalled(scenario, member);
    if (nodeOf(scenario, member).image === before[index]) {
      throw new DemoFailure(`${member.hostname} has the image it had before`, member.outlet);
    }
  }
  if (world.jobs.get(job.id)?.health?.endedAt === undefined) {
    throw new DemoFailure("nobody asked the updated nodes how they are");
  }
  await runCommand(scenario, group, "app-check");
  const versions = await runCommand(scenario, group, "app-version");
  const wrong = versions.find(({ words }) => !words.includes("2"));
  if (wrong) throw new DemoFailure(`version 2 does not run: it says ${wrong.words.join(", ")}`);
  const nodes = group.map(({ hostname }) => hostname);
  say(`update: ${nodes.join(", ")} run version 2, and kept ${settingPath}`);
  return {
    nodes,
    image,
    kept: settingPath,
    seconds: Math.round((performance.now() - began) / 1000),
  };
}

/** A window that opens every day, and a schedule that reboots in it; both are due within two minutes. */
export async function rebootInWindow(
  scenario: Scenario,
  group: readonly LabNode[],
): Promise<NonNullable<PlannedSteps["window"]>> {
  const { world, rack, say } = scenario;
  const due = nextMinute(Date.now() + 5000);
  const opens = `daily ${new Date(due).toISOString().slice(11, 16)}`;
  const name = `reboots-${group[0]?.stack}`;
  const zone = "UTC";
  await rack.api.send("PUT", `/api/v1/windows/${name}`, {
    ...{ effect: "allows", opens, minutes: 60, zone },
  });
  await rack.api.send("PUT", `/api/v1/schedules/${name}`, {
    ...{ at: opens, zone, window: name, kind: "reboot" },
    selector: selectorOf(scenario, group),
    parameters: { warnSeconds: 0 },
    rollout: { batch: scenario.atOnce, failures: 0, settleSeconds: 0 },
  });
  say(`window ${name} opens ${opens} UTC, in ${Math.ceil((due - Date.now()) / 1000)} s`);
  const before = group.map((member) => nodeOf(scenario, member).agent?.bootId);
  const job = await world.until(`job of schedule ${name}`, limits.planned, () =>
    [...world.jobs.values()].find(({ schedule }) => schedule === name),
  );
  say(`schedule ${name}: its time has come, ${group.length} to reboot`);
  await untilDone(scenario, job, group, limits.reboot);
  for (const [index, member] of group.entries()) {
    checkInstalled(scenario, member);
    if (nodeOf(scenario, member).agent?.bootId === before[index]) {
      throw new DemoFailure(`${member.hostname} has the boot id it had before`, member.outlet);
    }
  }
  const begun = Math.min(...tasksOf(world, job).map(({ startedAt = 0 }) => startedAt));
  if (begun < due) throw new DemoFailure(`reboots began ${due - begun} ms before their window`);
  const schedule = await rack.api.get<Schedule>(`/api/v1/schedules/${name}`);
  const window = await rack.api.get<Window & { readonly openUntil?: number }>(
    `/api/v1/windows/${name}`,
  );
  if (window.openUntil === undefined || (schedule.due ?? 0) !== due + dayMs) {
    throw new DemoFailure(`window ${name} is not open, or does not come again tomorrow`);
  }
  const next = new Date(due + dayMs).toISOString();
  say(`window ${name}: rebooted as planned; again ${next.slice(0, 16)} UTC`);
  const nodes = group.map(({ hostname }) => hostname);
  return { name, opens, nodes, secondsLate: Math.round((begun - due) / 100) / 10, next };
}

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

function nextMinute(after: number): number {
  return Math.ceil(after / minuteMs) * minuteMs;
}

async function copy(scenario: Scenario, group: readonly LabNode[], image: string): Promise<void> {
  const job = await createJob(scenario, group, "copy", { image, path: settingPath });
  await untilDone(scenario, job, group, limits.planned);
}

/** Runs a command of the configuration. @returns what it wrote on each node. @throws DemoFailure when it failed on one */
async function runCommand(
  scenario: Scenario,
  group: readonly LabNode[],
  command: keyof typeof demoCommands,
): Promise<readonly { readonly task: Task; readonly words: readonly string[] }[]> {
  const { rack, world } = scenario;
  const job: Job = await createJob(scenario, group, "run", { command });
  await untilDone(scenario, job, group, limits.planned);
  return await Promise.all(
    tasksOf(world, job).map(async (task) => {
      const log = await rack.api.get<{ items: readonly { readonly line: string }[] }>(
        `/api/v1/tasks/${task.id}/log`,
      );
      return { task, words: log.items.map(({ line }) => line) };
    }),
  );
}
