/** Jobs: what is asked of nodes. A job is made once, for the nodes its selector names at that moment. */

import { Type } from "typebox";
import type { JobId } from "#protocol/brand.ts";
import type { Image } from "#protocol/image.ts";
import { type Job, type JobKindName, type JobParameters, jobKinds } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { wipes } from "#protocol/rule.ts";
import { ConflictError, InvalidInputError, NotFoundError } from "../../errors.ts";
import { kindOf } from "../../job/registry.ts";
import { resolveSelector } from "../../job/selector.ts";
import { type Route, route } from "../route.ts";
import { jobSchema, oneOf, pageOf, selectorSchema, taskSchema } from "../schemas.ts";
import type { Admin } from "../services.ts";

const params = Type.Object({ id: Type.String({ maxLength: 100 }) });

const descriptions: Readonly<Record<JobKindName, string>> = {
  install: "Write an image on the node's disk and boot it; what is on the disk is lost",
  reboot: "Warn those logged in, then reboot",
  shutdown: "Warn those logged in, then power off",
  inventory: "Look at the node's hardware again, and tell what has changed",
  "burn-in": "Test memory, processor and disks of a node without an installed system",
  identify: "Blink the node's light, beep and write its name on its screen",
};
/** Members of `parameters`; the kind itself checks them. */
const parameterSchemas: Readonly<Record<JobKindName, object>> = {
  install: {
    type: "object",
    required: ["image"],
    properties: {
      image: { type: "string", description: "name or digest of an image" },
      disk: { type: "string", description: "kernel name or serial; default: the only fixed disk" },
      authorizedKeys: { type: "array", items: { type: "string" } },
      wipe: {
        enum: [...wipes],
        description: "known: refuse a disk whose contents were not installed from here",
      },
    },
  },
  reboot: { type: "object", properties: { warnSeconds: { type: "integer", maximum: 3600 } } },
  shutdown: {
    type: "object",
    properties: {
      warnSeconds: { type: "integer", maximum: 3600 },
      outlet: { enum: ["off", "cycle"], description: "what its outlet does once it is down" },
    },
  },
  inventory: { type: "object", properties: {} },
  "burn-in": {
    type: "object",
    properties: {
      seconds: { type: "integer", maximum: 86_400 },
      writeDisks: {
        type: "boolean",
        description: "write disks too that are blank or were installed from here",
      },
    },
  },
  identify: { type: "object", properties: { seconds: { type: "integer", maximum: 600 } } },
};

const planSchema = Type.Object({
  dryRun: Type.Literal(true),
  kind: oneOf(jobKinds),
  nodes: Type.Array(
    Type.Object({
      id: Type.String(),
      name: Type.String(),
      does: Type.String(),
      loses: Type.Optional(Type.String()),
      refused: Type.Optional(Type.String()),
    }),
  ),
});

/** The newest image of a name; where nodes are all of one architecture, the newest one for it. */
function imageNamed(name: string, nodes: readonly Node[], { library }: Admin): Image {
  const named = library
    .list()
    .filter((image) => image.digest === name || image.name === name)
    .toSorted((a, b) => b.createdAt - a.createdAt);
  if (named.length === 0) {
    throw new InvalidInputError(`no image ${JSON.stringify(name)}`, [
      { pointer: "/parameters/image", detail: "not in the library" },
    ]);
  }
  const architectures = new Set(nodes.flatMap((node) => node.architecture ?? []));
  const fitting = named.find((image) => architectures.has(image.architecture)) ?? named[0];
  if (!fitting || architectures.size > 1) {
    const words = [...architectures].join(" and ");
    throw new ConflictError(`the nodes are ${words}: make one job for each architecture`);
  }
  return fitting;
}

/** Outside an image may be named; inside it is its digest. */
function parametersOf(
  body: { kind: JobKindName; parameters: Readonly<Record<string, unknown>> },
  nodes: readonly Node[],
  admin: Admin,
): JobParameters {
  const { kind, parameters } = body;
  const named = parameters["image"];
  const resolved =
    kind === "install" && typeof named === "string"
      ? { ...parameters, image: imageNamed(named, nodes, admin).digest }
      : parameters;
  return { kind, parameters: kindOf(kind).parse(resolved) } as JobParameters; // parse is the kind's own
}

function planOf(request: JobParameters, nodes: readonly Node[], selector: string, admin: Admin) {
  const job: Job = {
    ...request,
    id: "job_plan" as JobId,
    state: "queued",
    selector,
    createdBy: "plan",
    createdAt: admin.clock.now(),
  };
  return {
    dryRun: true,
    kind: job.kind,
    nodes: nodes.map((node) => {
      const refused = kindOf(job.kind).refuse(node, job, admin.library);
      const loses = job.kind === "install" ? lossOf(node, job.parameters.disk, admin) : undefined;
      return {
        id: node.id,
        name: node.name,
        does: doesOf(job, admin),
        ...(loses !== undefined && { loses }),
        ...(refused !== undefined && { refused }),
      };
    }),
  };
}

function doesOf(job: Job, { library }: Admin): string {
  if (job.kind === "inventory") return "look at the hardware";
  if (job.kind === "burn-in") return `test the hardware for ${job.parameters.seconds} s`;
  if (job.kind === "identify") return `show which it is for ${job.parameters.seconds} s`;
  if (job.kind !== "install") return `${job.kind} after ${job.parameters.warnSeconds} s of warning`;
  const image = library.get(job.parameters.image);
  return `install ${image?.name ?? job.parameters.image}`;
}

function lossOf(node: Node, disk: string | undefined, { library }: Admin): string {
  const target =
    disk ?? node.hardware?.disks.find((one) => !one.removable)?.name ?? "its only fixed disk";
  const installed = node.image && (library.get(node.image)?.name ?? node.image.slice(0, 12));
  return `everything on ${target}${installed ? ` (${installed} is installed)` : ""}`;
}

function findJob(id: string, { store }: Admin): Job {
  const job = store.jobs.get(id as JobId);
  if (!job) throw new NotFoundError(`no job ${JSON.stringify(id)}`);
  return job;
}

export const jobRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/job-kinds",
    role: "viewer",
    name: "list-job-kinds",
    summary: "What can be asked of nodes, and with which parameters",
    response: pageOf(Type.Object({ kind: oneOf(jobKinds), summary: Type.String() })),
    handler: () => ({
      items: jobKinds.map((kind) => ({
        kind,
        summary: descriptions[kind],
        parameters: parameterSchemas[kind],
      })),
    }),
  }),
  route({
    method: "get",
    path: "/api/v1/jobs",
    role: "viewer",
    name: "list-jobs",
    summary: "Jobs, newest first",
    query: Type.Object(
      {
        limit: Type.Integer({ minimum: 1, maximum: 200, default: 50 }),
        after: Type.Optional(Type.String({ maxLength: 100 })),
      },
      { additionalProperties: false },
    ),
    response: pageOf(jobSchema),
    handler: ({ query, koa }, { store }) => {
      const { limit, after } = query;
      const items = store.jobs.list({
        limit,
        ...(after !== undefined && { before: after as JobId }),
      });
      const next = items.length === limit ? items.at(-1)?.id : undefined;
      if (next === undefined) return { items };
      koa.set("Link", `</api/v1/jobs?limit=${limit}&after=${next}>; rel="next"`);
      return { items, next };
    },
  }),
  route({
    method: "get",
    path: "/api/v1/jobs/:id",
    role: "viewer",
    name: "get-job",
    summary: "A job and its task on each node",
    params,
    response: Type.Intersect([jobSchema, Type.Object({ tasks: Type.Array(taskSchema) })]),
    handler: ({ params }, admin) => {
      const job = findJob(params.id, admin);
      return { ...job, tasks: admin.store.tasks.ofJob(job.id) };
    },
  }),
  route({
    method: "post",
    path: "/api/v1/jobs",
    role: "operator",
    name: "create-job",
    summary: "Ask something of nodes; `dryRun` only says what would happen and what would be lost",
    status: 202,
    body: Type.Object(
      {
        kind: oneOf(jobKinds),
        selector: selectorSchema,
        parameters: Type.Record(Type.String(), Type.Unknown(), { default: {} }),
        dryRun: Type.Boolean({ default: false }),
      },
      { additionalProperties: false },
    ),
    response: Type.Union([jobSchema, planSchema]),
    target: ({ body }) => `${body.dryRun ? "plan of " : ""}${body.kind} ${body.selector}`,
    handler: ({ body, who, koa }, admin) => {
      const key = koa.get("Idempotency-Key");
      return admin.idempotency.once(key === "" ? undefined : `${who} ${key}`, body, () => {
        const ids = resolveSelector(body.selector, admin.nodes.list());
        const nodes = ids.flatMap((id) => admin.nodes.get(id) ?? []);
        const request = parametersOf(body, nodes, admin);
        if (body.dryRun) {
          koa.status = 200;
          return planOf(request, nodes, body.selector, admin);
        }
        const job = admin.jobs.create({
          ...request,
          selector: body.selector,
          nodes: ids,
          createdBy: who,
        });
        koa.set("Location", `/api/v1/jobs/${job.id}`);
        return job;
      });
    },
  }),
  route({
    method: "post",
    path: "/api/v1/jobs/:id/cancel",
    role: "operator",
    name: "cancel-job",
    summary: "Stop what has not begun, and what runs at its next safe point",
    status: 202,
    params,
    response: jobSchema,
    target: ({ params }) => params.id,
    handler: ({ params, who }, admin) => admin.jobs.cancel(findJob(params.id, admin).id, who),
  }),
];
