/** A job and its tasks as they are first stored: everything about the request is checked here. */

import { randomUUID, randomUUIDv7 } from "node:crypto";
import type { JobId, NodeId, TaskId } from "#protocol/brand.ts";
import type { Job, JobParameters, Task, When } from "#protocol/job.ts";
import type { Clock } from "../clock.ts";
import { InvalidInputError, NotFoundError } from "../errors.ts";
import type { Nodes } from "../node/nodes.ts";
import type { Store } from "../store/store.ts";
import type { Commands } from "./commands.ts";
import { isPlanned } from "./conductor.ts";
import { checkHealth } from "./health.ts";
import type { Images } from "./kind.ts";
import { check } from "./parameters.ts";
import { isJobKind, kindOf } from "./registry.ts";
import { batchesOf, type RolloutRequest, rolloutSchema } from "./rollout.ts";

export type JobRequest = JobParameters &
  When & {
    /** As it was given, for people. */
    readonly selector: string;
    /** What it meant when the job was made, in the order in which they take their turns. */
    readonly nodes: readonly NodeId[];
    /** User name. */
    readonly createdBy: string;
    readonly why?: string;
    readonly rollout?: RolloutRequest;
    readonly schedule?: string;
    readonly retryOf?: JobId;
    readonly healthOf?: JobId;
  };

interface NewJobContext {
  readonly store: Store;
  readonly nodes: Pick<Nodes, "get">;
  readonly clock: Clock;
  readonly images: Pick<Images, "get">;
  readonly commands: Commands;
}

/** @throws InvalidInputError, NotFoundError */
export function newJob(
  request: JobRequest,
  context: NewJobContext,
): { readonly job: Job; readonly tasks: readonly Task[] } {
  const { nodes, clock, images, commands } = context;
  const { kind, parameters: given, nodes: wanted, rollout: asked, ...rest } = request;
  if (!isJobKind(kind)) throw new InvalidInputError(`no job kind ${JSON.stringify(kind)}`);
  const parameters = kindOf(kind).parse(given);
  if ("image" in parameters && !images.get(parameters.image)) {
    throw new NotFoundError(`no image ${parameters.image}`);
  }
  const nodeIds = [...new Set(wanted)];
  if (nodeIds.length === 0) throw new InvalidInputError(`${request.selector} names no node`);
  const most = kindOf(kind).mostNodes ?? Number.POSITIVE_INFINITY;
  if (nodeIds.length > most) {
    throw new InvalidInputError(
      `${request.selector} names ${nodeIds.length} nodes, one job of kind ${kind} takes ${most}`,
    );
  }
  const missing = nodeIds.find((id) => !nodes.get(id));
  if (missing !== undefined) throw new NotFoundError(`no node ${missing}`);
  checkWhen(request, context);
  const rollout = asked && check(rolloutSchema, asked, "rollout");
  if (rollout?.health) checkHealth(rollout.health, kind, commands);
  const planned = {
    ...rest,
    kind,
    parameters,
    ...(rollout && { rollout }),
    id: `job_${randomUUID()}` as JobId,
    state: "queued",
    createdAt: clock.now(),
  } as Job;
  const job: Job = isPlanned(planned) ? { ...planned, state: "waiting" } : planned;
  const batches = job.rollout ? batchesOf(job.rollout, nodeIds.length) : [];
  const tasks = nodeIds.map((nodeId, index): Task => {
    const node = nodes.get(nodeId);
    return {
      // Rises with time: what is written of tasks made together lies together.
      id: `task_${randomUUIDv7()}` as TaskId,
      jobId: job.id,
      nodeId,
      kind: job.kind,
      state: job.state,
      ...(batches[index] !== undefined && { batch: batches[index] }),
      epoch: 0,
      percent: 0,
      stageSeconds: {},
      createdAt: job.createdAt,
      ...(node && kindOf(kind).keepsOf?.(node, job.parameters)),
    };
  });
  return { job, tasks };
}

function checkWhen(
  { notBefore, deadline, window, after = [] }: When,
  { store, clock }: NewJobContext,
): void {
  if (deadline !== undefined && deadline <= Math.max(clock.now(), notBefore ?? 0)) {
    const than = notBefore !== undefined && notBefore > clock.now() ? "its beginning" : "now";
    throw wrongWhen("deadline", `the deadline must be later than ${than}`);
  }
  if (window !== undefined) checkWindow(window, store);
  const missing = after.find((id) => !store.jobs.get(id));
  if (missing !== undefined) throw wrongWhen("after", `no job ${missing}`);
}

/** @throws InvalidInputError when no job can begin in a window of this name */
export function checkWindow(name: string, store: Pick<Store, "windows">): void {
  const window = store.windows.get(name);
  if (window?.effect === "allows") return;
  const known = store.windows.list().filter(({ effect }) => effect === "allows");
  throw wrongWhen(
    "window",
    window
      ? `window ${name} forbids jobs: nothing can begin in it`
      : `no window ${JSON.stringify(name)}: there is ${known.map((one) => one.name).join(", ") || "none yet"}`,
  );
}

function wrongWhen(member: keyof When, detail: string): InvalidInputError {
  return new InvalidInputError(detail, [{ pointer: `/when/${member}`, detail }]);
}
