/** A real install, and a real update after it, on a QEMU machine whose disk writes are logged. */

import { statSync } from "node:fs";
import type { Job, Task } from "#protocol/job.ts";
import type { prepare } from "../demo/prepare.ts";
import { addImages, imageNameFor, learnRack, type Scenario, untilReady } from "../demo/scenario.ts";
import type { Cleanup } from "./cleanup.ts";
import type { Span } from "./cut-points.ts";
import { createVirtualRack } from "./virtual-rack.ts";
import { watchWorld } from "./world.ts";
import { openWriteLog } from "./write-log.ts";

export const operations = ["install", "update"] as const;
export type Operation = (typeof operations)[number];
/** Which writes of the log are of which operation. */
export type Recorded = Readonly<Partial<Record<Operation, Span>>>;

export interface Recording {
  readonly directory: string;
  readonly log: string;
  readonly wanted: readonly Operation[];
  readonly prepared: Awaited<ReturnType<typeof prepare>>;
  readonly cleanup: Cleanup;
  readonly say: (line: string) => void;
}

const minute = 60_000;
/** Two of them, the boot partition and some data fit the guest's 2 GiB. */
const rootMiB = 640;

export async function record(recording: Recording): Promise<Recorded> {
  const { directory, log, wanted, prepared, cleanup, say } = recording;
  const { images, trees, ...rest } = prepared;
  const rack = await createVirtualRack({
    ...rest,
    firmwares: ["bios"],
    directory,
    adminPort: 8000,
    writeLog: log,
    cleanup,
  });
  const world = watchWorld(rack.api);
  const scenario: Scenario = { rack, world, say, atOnce: 1 };
  try {
    const slotted = [...images].map(([name, image]) => {
      const path = trees.get(name) ?? image.path;
      return [name, { ...image, path, format: "rootfs-tar", rootMiB }] as const;
    });
    await addImages(scenario, wanted.includes("update") ? new Map(slotted) : images);
    await learnRack(scenario);
    const [node] = rack.nodes;
    if (!node) throw new Error("a rack without nodes");
    const { id } = await untilReady(scenario, node);
    const install = await measured(scenario, "install", id, log);
    if (!wanted.includes("update")) return { install };
    await ended(scenario, "install");
    const update = await measured(scenario, "update", id, log);
    await ended(scenario, "update");
    return wanted.includes("install") ? { install, update } : { update };
  } finally {
    world.close();
    await rack.close();
  }
}

/** From the agent's first write to the report that ends its work: what the system writes afterwards is its own. */
async function measured(
  { rack, world, say }: Scenario,
  kind: Operation,
  selector: string,
  log: string,
): Promise<Span> {
  say(`${kind}, every write logged`);
  const image = imageNameFor("bios");
  const parameters = kind === "install" ? { image, authorizedKeys: [] } : { image };
  const request = { kind, selector, parameters };
  const job = await rack.api.send<Job>("POST", "/api/v1/jobs", request);
  const reached = (what: string, stages: readonly Task["stage"][]) =>
    world.until(`${kind}: ${what}`, 45 * minute, () => {
      const task = [...world.tasks.values()].find(({ jobId }) => jobId === job.id);
      if (task?.state === "failed") throw new Error(`${kind} failed: ${task.reason}`);
      return task && stages.includes(task.stage) ? statSync(log).size : undefined;
    });
  const isBegun = ["preparing", "writing", "verifying", "configuring", "committing"] as const;
  const begin = kind === "install" ? 0 : await reached("begin", isBegun);
  const end = await reached("commit", ["rebooting", "first-boot", "confirming", "confirmed"]);
  return { from: begin === 0 ? 0 : writesUpTo(log, begin), to: writesUpTo(log, end) };
}

async function ended({ world, say }: Scenario, kind: Operation): Promise<void> {
  const job = await world.until(`${kind} ends`, 30 * minute, () =>
    [...world.jobs.values()].find((one) => one.kind === kind && one.endedAt !== undefined),
  );
  say(`${kind} ${job.state}`);
  if (job.state === "done") return;
  const task = [...world.tasks.values()].find(({ jobId }) => jobId === job.id);
  throw new Error(`${kind} ${job.state}: ${task?.reason}`);
}

function writesUpTo(path: string, octets: number): number {
  const log = openWriteLog(path, octets);
  log.close();
  return log.writes.length;
}
