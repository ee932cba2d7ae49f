/**
 * Update: the agent in netinst writes the image into the root slot that does not run, with what
 * is kept of the one that does; the next boot tries it once. When the new system's agent calls it
 * is told to stay; when it does not, the boot after that is the old system again.
 *
 *   waiting-for-agent -> preparing … committing -> rebooting -> first-boot -> confirming -> confirmed
 *   (we)                 (netinst reports)         (we)         (the node)    (the new system)
 *
 *   another attempt, after the new system was tried: falling-back, which never writes
 *
 * GRUB tries the new slot once by itself; to a Raspberry Pi the server gives its kernel for one boot
 * (server/boot/trials.ts).
 */

import { Type } from "typebox";
import { parseImageDigest } from "#protocol/brand.ts";
import { installStages, type Stage, type UpdateParameters } from "#protocol/job.ts";
import type { AgentSession, InstalledSlots, Node } from "#protocol/node.ts";
import { otherSlot, treeRootBytes } from "#protocol/root-slots.ts";
import type { NodeChange } from "../../node/nodes.ts";
import {
  agentsWork,
  bootIdBefore,
  bootInstalled,
  bringIntoNetinst,
  netinstOf,
  residentOf,
} from "../agent-work.ts";
import { AttemptError, type InstallImage, type JobOf, type Kind, type TaskRun } from "../kind.ts";
import { absolutePath, check } from "../parameters.ts";
import { whyNotWritten } from "./install.ts";

const schema = Type.Object(
  {
    image: Type.String({ pattern: "^[0-9a-f]{64}$" }),
    keep: Type.Array(absolutePath, { maxItems: 64, default: [] }),
  },
  { additionalProperties: false },
);

const netinstStages = ["preparing", "writing", "verifying", "configuring", "committing"] as const;

export const update: Kind<"update"> = {
  kind: "update",
  stages: [...installStages, "confirming", "confirmed", "falling-back"],
  agentStages: [...netinstStages, "confirming"],
  stageAfterDone: (stage) => (stage === "confirming" ? "confirmed" : "rebooting"),
  endsOnline: true,

  parse(value): UpdateParameters {
    const { image, keep } = check(schema, value);
    return { image: parseImageDigest(image), keep };
  },

  refuse(node, job, images) {
    const image = images.get(job.parameters.image);
    const refusal = whyNotWritten(node, image, job.parameters.image, node.installedDisk?.serial);
    if (refusal !== undefined || !image) return refusal;
    return whyNoSlot(node, image) ?? whyNoTrial(node, image, job.parameters);
  },

  async run(run, job) {
    const { stage } = run.task;
    if (stage === "waiting-for-agent") {
      if (wasTried(run)) run.setStage("falling-back");
      else {
        const agent = await bringIntoNetinst(run);
        order(run, job, agent.bootId);
        run.setStage("preparing");
      }
    } else if (isNetinstsWork(stage)) {
      order(run, job, bootIdBefore(run));
    }
    if (run.task.stage === "falling-back") await fallBack(run);
    if (isNetinstsWork(run.task.stage)) await agentsWork(run, () => isNetinstsWork(run.task.stage));
    if (run.task.stage === "rebooting" || run.task.stage === "first-boot") {
      await bootInstalled(run, (agent) => isNew(run, agent));
    }
    await confirm(run);
    return whatRunsNow(run.node, job);
  },
};

/** What of the running system is carried over besides its identity and the data partition. */
export function keptPaths(image: InstallImage | undefined, { keep }: UpdateParameters): string[] {
  return [...new Set([...(image?.keep ?? []), ...keep])];
}

function whyNoSlot({ name, state, installedDisk }: Node, image: InstallImage): string | undefined {
  const slots = installedDisk?.slots;
  if (state !== "installed")
    return `${name} has no installed system that could be updated: install it`;
  if (image.format !== "rootfs-tar") {
    return `${image.name} is a whole disk, which would replace what is to be kept: push a root file system (tar), or install it`;
  }
  if (!slots) {
    return `${name} has one root file system, so nothing can be written beside the one that runs: install an image that was pushed with --root-size`;
  }
  if (image.bootloader !== slots.bootloader) {
    return `${name} boots by ${slots.bootloader}, image ${image.name} by ${image.bootloader}`;
  }
  const needed = treeRootBytes(image);
  if (needed <= slots.rootBytes) return undefined;
  return `image ${image.name} needs ${needed} bytes, a root slot of ${name} has ${slots.rootBytes}: install it with a larger --root-size`;
}

/** What the server needs for the one boot that GRUB does by itself. */
function whyNoTrial(
  { name, installedDisk }: Node,
  image: InstallImage,
  parameters: UpdateParameters,
): string | undefined {
  if (image.bootloader !== "raspberry-pi") return undefined;
  if (!image.slots) {
    return `${image.name} was pushed without root slots, so a Raspberry Pi cannot try it: push it with --root-size`;
  }
  if (!installedDisk?.slots?.roots) {
    return `${name} has not told where its root slots are: install it`;
  }
  const kept = keptPaths(image, parameters).find((path) => /^\/boot(\/|$)/.test(path));
  if (kept === undefined) return undefined;
  return `${kept} cannot be kept on a Raspberry Pi: the new system is tried with its own boot files`;
}

function order(run: TaskRun, { parameters }: JobOf<"update">, bootId: string): void {
  const { node } = run;
  const disk = node.installedDisk?.serial ?? node.installedDisk?.name;
  const ticket = run.ticketFor(parameters.image);
  run.order(
    {
      action: "update",
      ...ticket,
      hostname: node.name,
      authorizedKeys: run.authorizedKeys,
      keep: keptPaths(ticket.image, parameters),
      guard: run.guard("known"),
      isLast: run.isLastAttempt(),
      // A third of the time is for the way back.
      trialSeconds: Math.max(1, Math.floor((run.timing.firstBoot * 2) / 3000)),
      ...(disk !== undefined && { disk }),
    },
    bootId,
  );
}

/** Whether `agent` is of the system that this task wrote. @throws AttemptError when it is of another */
function isNew(run: TaskRun, { system }: AgentSession): true {
  if (system?.madeBy === run.task.id) return true;
  if (!wasTried(run)) {
    throw new AttemptError("it booted its own disk before it was given the new system", true);
  }
  throw new AttemptError(
    "the new system did not stay up: the node has gone back to the system it had",
    false,
  );
}

/** The new system was tried and has not called: its outlet is the last word, then the old system is asked for. */
async function fallBack(run: TaskRun): Promise<void> {
  const { timing } = run;
  if (!residentOf(run.node) && !laterNetinstOf(run)) {
    if (!run.hasOutlet())
      run.say("no outlet is known: power-cycle the node by hand, it then starts the system it had");
    else if (await run.switchPowerOnce())
      run.say("the new system did not call: switched its power");
  }
  const limit = run.hasOutlet() ? timing.boot : timing.manualBoot;
  const agent = await run.until(() => {
    const netinst = laterNetinstOf(run);
    if (netinst && !run.isRestartOrdered()) run.orderRestart(netinst.bootId);
    return residentOf(run.node);
  }, limit);
  run.withdraw();
  if (agent && isNew(run, agent)) return;
  throw new AttemptError(
    `neither the new system nor the one before called within ${Math.round(limit / 1000)} s: look at its console; its next boot is the system it had`,
    false,
  );
}

/** Not the one that wrote: it counts as online for a while after its end. */
function laterNetinstOf({ node, task }: TaskRun): AgentSession | undefined {
  const netinst = netinstOf(node);
  return netinst?.bootId === task.bootIdBefore ? undefined : netinst;
}

/** The new system stays: said by the server, done by the system itself, again after each of its boots. */
async function confirm(run: TaskRun): Promise<void> {
  let asked: string | undefined;
  if (run.task.stage !== "confirmed") run.setStage("confirming");
  const { firstBoot: limit } = run.timing;
  const done = await run.until(() => {
    if (run.task.stage === "confirmed") return true;
    const agent = residentOf(run.node);
    if (!agent || !isNew(run, agent)) return undefined;
    if (asked !== agent.bootId) run.order({ action: "confirm" }, agent.bootId);
    asked = agent.bootId;
    return undefined;
  }, limit);
  run.withdraw();
  if (done) return;
  throw new AttemptError(
    `the new system did not say within ${Math.round(limit / 1000)} s that it stays`,
    true,
  );
}

function whatRunsNow({ agent, installedDisk }: Node, job: JobOf<"update">): NodeChange {
  const slot = agent?.system?.slot;
  const slots: InstalledSlots | undefined = slot &&
    installedDisk?.slots && { ...installedDisk.slots, active: slot };
  return {
    state: "installed",
    image: job.parameters.image,
    reason: undefined,
    nextCertificate: undefined,
    ...(installedDisk && slots && { installedDisk: { ...installedDisk, slots } }),
  };
}

/** The slot an update would write; undefined where there is none. */
export function slotToWrite({ installedDisk }: Node): "a" | "b" | undefined {
  return installedDisk?.slots && otherSlot(installedDisk.slots.active);
}

function isNetinstsWork(stage: Stage | undefined): boolean {
  return netinstStages.some((one) => one === stage);
}

/** Whether an attempt has had the new system booted: from then on nothing is written. */
function wasTried({ task, node }: TaskRun): boolean {
  if (node.installedDisk?.slots?.bootloader === "raspberry-pi") return task.isTried ?? false;
  return task.stageSeconds.rebooting !== undefined;
}
