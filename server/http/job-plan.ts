/** What a job would do, node by node, and what would be lost: for `dryRun`. */

import { Type } from "typebox";
import { targetDisk, whyGuarded } from "#protocol/disk.ts";
import { type Job, jobKinds, type Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { whyHeld } from "../job/conductor.ts";
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
export function planOf(request: JobRequest, admin: Admin) {
  const { store, nodes, clock, library } = admin;
  const { job, tasks } = newJob(request, { store, nodes, clock, images: library });
  const waitsFor = whyHeld(job, store.windows.list(), clock.now(), store);
  return {
    dryRun: true as const,
    kind: job.kind,
    ...(waitsFor !== undefined && { waitsFor }),
    nodes: tasks.flatMap((task) => {
      const node = nodes.get(task.nodeId);
      return node ? [planFor(node, task, job, admin)] : [];
    }),
  };
}

function planFor(node: Node, { batch }: Task, job: Job, admin: Admin) {
  const refused = kindOf(job.kind).refuse(node, job, admin.library);
  const loses = lossOf(node, job, admin);
  const [first] = admin.store.tasks.unfinishedOf(node.id);
  return {
    id: node.id,
    name: node.name,
    does: doesOf(job, admin),
    ...(loses !== undefined && { loses }),
    ...(refused !== undefined && { refused }),
    ...(first && { after: `its ${first.kind} of ${first.jobId}` }),
    ...(batch !== undefined && { batch: batch + 1 }),
  };
}

function doesOf(job: Job, { library }: Admin): string {
  if (job.kind === "inventory") return "look at the hardware";
  if (job.kind === "burn-in") return `test the hardware for ${job.parameters.seconds} s`;
  if (job.kind === "power-on") return "switch its outlet on";
  if (job.kind === "power-off") return "switch its outlet off";
  if (job.kind === "power-cycle") return "switch its outlet off and on again";
  if (job.kind === "copy") {
    const { image, path } = job.parameters;
    return `write ${library.get(image)?.name ?? image} to ${path}`;
  }
  if (job.kind === "run") return `run ${job.parameters.argv.join(" ")}`;
  if (job.kind === "identify") return `show which it is for ${job.parameters.seconds} s`;
  if (job.kind !== "install") return `${job.kind} after ${job.parameters.warnSeconds} s of warning`;
  const image = library.get(job.parameters.image);
  return `install ${image?.name ?? job.parameters.image}`;
}

function lossOf(node: Node, job: Job, admin: Admin): string | undefined {
  if (job.kind === "install") return installLoss(node, job.parameters.disk, admin);
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
