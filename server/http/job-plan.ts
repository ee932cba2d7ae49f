/** What a job would do, node by node, and what would be lost: for `dryRun`. */

import { Type } from "typebox";
import { targetDisk, whyGuarded } from "#protocol/disk.ts";
import type { Image } from "#protocol/image.ts";
import { type Job, type JobPlan, jobKinds, type Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { hasRoomForSlots } from "#protocol/root-slots.ts";
import { whyHeld } from "../job/conductor.ts";
import type { JobOf } from "../job/kind.ts";
import { keptPaths, slotToWrite } from "../job/kinds/update.ts";
import { type JobRequest, newJob } from "../job/new-job.ts";
import { kindOf } from "../job/registry.ts";
import { guardOf } from "../node/disk-guard.ts";
import { oneOf } from "./schemas.ts";
import type { Admin } from "./services.ts";

export const planSchema = Type.Object({
  dryRun: Type.Literal(true),
  kind: oneOf(jobKinds),
  /** Why nothing would begin at once. */
  waitsFor: Type.Optional(Type.String()),
  nodes: Type.Array(
    Type.Object({
      id: Type.String(),
      name: Type.String(),
      does: Type.String(),
      loses: Type.Optional(Type.String()),
      refused: Type.Optional(Type.String()),
      /** What it does first. */
      after: Type.Optional(Type.String()),
      /** From 1; absent when all begin together. */
      batch: Type.Optional(Type.Integer()),
    }),
  ),
});

/** @throws InvalidInputError, NotFoundError where the job itself would */
export function planOf(request: JobRequest, admin: Admin): JobPlan {
  const { store, nodes, clock, library, config } = admin;
  const { commands } = config;
  const { job, tasks } = newJob(request, { store, nodes, clock, images: library, commands });
  const waitsFor = whyHeld(job, store.windows.list(), clock.now(), store);
  return {
    dryRun: true,
    kind: job.kind,
    ...(waitsFor !== undefined && { waitsFor }),
    nodes: tasks.flatMap((task) => {
      const node = nodes.get(task.nodeId);
      return node ? [planFor(node, task, job, admin)] : [];
    }),
  };
}

function planFor(node: Node, { batch }: Task, job: Job, admin: Admin): JobPlan["nodes"][number] {
  const refused = kindOf(job.kind).refuse(node, job, admin.library);
  const loses = lossOf(node, job, admin);
  const [first] = admin.store.tasks.unfinishedOf(node.id);
  return {
    id: node.id,
    name: node.name,
    does: doesOf(node, job, admin),
    ...(loses !== undefined && { loses }),
    ...(refused !== undefined && { refused }),
    ...(first && { after: `its ${first.kind} of ${first.jobId}` }),
    ...(batch !== undefined && { batch: batch + 1 }),
  };
}

function doesOf(node: Node, job: Job, { library }: Admin): string {
  if (job.kind === "inventory") return "look at the hardware";
  if (job.kind === "burn-in") return `test the hardware for ${job.parameters.seconds} s`;
  if (job.kind === "power-on") return "switch its outlet on";
  if (job.kind === "power-off") return "switch its outlet off";
  if (job.kind === "power-cycle") return "switch its outlet off and on again";
  if (job.kind === "copy") {
    const { image, path } = job.parameters;
    return `write ${library.get(image)?.name ?? image} to ${path}`;
  }
  if (job.kind === "capture") {
    const { name, format, disk } = job.parameters;
    const from = format === "raw" ? (disk ?? "its disk") : `the files of ${disk ?? "its disk"}`;
    return `stop it, read ${from} and make image ${name} of that, start it again`;
  }
  if (job.kind === "run") return `run ${job.parameters.argv.join(" ")}`;
  if (job.kind === "identify") return `show which it is for ${job.parameters.seconds} s`;
  if (job.kind === "update") return updateText(node, job, library.get(job.parameters.image));
  if (job.kind !== "install") return `${job.kind} after ${job.parameters.warnSeconds} s of warning`;
  const image = library.get(job.parameters.image);
  return `install ${image?.name ?? job.parameters.image}${image ? layoutText(node, job.parameters.disk, image) : ""}`;
}

/** How an image with root slots is laid out on the node's disk. */
function layoutText({ hardware }: Node, wanted: string | undefined, image: Image): string {
  const disk = targetDisk(hardware?.disks ?? [], wanted);
  if (!image.slots || typeof disk === "string") return "";
  if (!hasRoomForSlots(image, disk.sizeBytes)) {
    return ` with one root: ${disk.name} is too small for two, updates will not be possible`;
  }
  return ` in two root slots of ${image.slots.rootMiB} MiB, the rest is ${image.slots.data}`;
}

function updateText(node: Node, job: JobOf<"update">, image: Image | undefined): string {
  const slot = slotToWrite(node);
  const where = slot === undefined ? "" : ` into root slot ${slot}`;
  const tried = "try it once, go back if it does not call";
  return `write ${image?.name ?? job.parameters.image}${where}, keep ${keptText(node, job, image)}, ${tried}`;
}

function keptText(node: Node, job: JobOf<"update">, image: Image | undefined): string {
  const data = node.installedDisk?.slots?.data;
  const paths = [...keptPaths(image, job.parameters), ...(data === undefined ? [] : [data])];
  return [...paths, "what makes it this node"].join(", ");
}

function updateLoss(node: Node, job: JobOf<"update">, { library }: Admin): string {
  const running = node.image && library.get(node.image)?.name;
  const kept = keptText(node, job, library.get(job.parameters.image));
  return `all else of ${running ?? "its system"} but ${kept}; it stays in its slot until the update after this`;
}

function lossOf(node: Node, job: Job, admin: Admin): string | undefined {
  if (job.kind === "install") return installLoss(node, job.parameters.disk, admin);
  if (job.kind === "update") return updateLoss(node, job, admin);
  if (job.kind !== "burn-in" || !job.parameters.writeDisks) return undefined;
  const guard = guardOf(admin.store, node, "known");
  const written = (node.hardware?.disks ?? []).filter(
    (disk) =>
      !disk.removable && disk.contents?.kind === "known" && whyGuarded(disk, guard) === undefined,
  );
  const texts = written.map(({ name, contents }) => `${contents?.text} on ${name}`);
  return texts.length > 0 ? texts.join("; ") : undefined;
}

function installLoss(node: Node, disk: string | undefined, { library }: Admin): string {
  const found = targetDisk(node.hardware?.disks ?? [], disk);
  const target = typeof found === "string" ? undefined : found;
  const installed = node.image && (library.get(node.image)?.name ?? node.image.slice(0, 12));
  const known = installed ? `${installed} is installed` : target?.contents?.text;
  const name = target?.name ?? disk ?? "its only fixed disk";
  return `everything on ${name}${known === undefined ? "" : ` (${known})`}`;
}
