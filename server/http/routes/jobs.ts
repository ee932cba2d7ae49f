/** Jobs: what is asked of nodes. A job is made once, for the nodes its selector names at that moment. */

import { type Static, Type } from "typebox";
import type { JobId } from "#protocol/brand.ts";
import { captureFormats, type Job, type JobKindName, jobKinds, type When } from "#protocol/job.ts";
import { wipes } from "#protocol/rule.ts";
import { NotFoundError } from "../../errors.ts";
import type { JobRequest } from "../../job/jobs.ts";
import { parseMoment, parseZone } from "../../job/recurrence.ts";
import { type Asked, meaningOf } from "../../job/request.ts";
import { type RolloutRequest, rolloutSchema } from "../../job/rollout.ts";
import { checkRole } from "../asked-role.ts";
import { planOf, planSchema } from "../job-plan.ts";
import { type Route, route } from "../route.ts";
import { jobSchema, nameSchema, oneOf, pageOf, selectorSchema, taskSchema } from "../schemas.ts";
import type { Admin } from "../services.ts";

const params = Type.Object({ id: Type.String({ maxLength: 100 }) });

const descriptions: Readonly<Record<JobKindName, string>> = {
  install: "Write an image on the node's disk and boot it; what is on the disk is lost",
  update:
    "Write an image beside the running system, keep what is named, try it once; back to the old one when it does not call",
  reboot: "Warn those logged in, then reboot",
  shutdown: "Warn those logged in, then power off",
  inventory: "Look at the node's hardware again, and tell what has changed",
  "burn-in": "Test memory, processor and disks of a node without an installed system",
  identify: "Blink the node's light, beep and write its name on its screen",
  "power-on": "Switch the node's outlet on",
  "power-off": "Switch the node's outlet off, whatever runs there when forced",
  "power-cycle": "Switch the node's outlet off and on again",
  copy: "Write a file of the library to a path of the installed system",
  capture: "Make an image of what is on one node's disk, which is only read; for admins",
  run: "Run a program of the installed system: a command of the configuration, or any for an admin",
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
  update: {
    type: "object",
    required: ["image"],
    properties: {
      image: { type: "string", description: "name or digest of a root file system" },
      keep: {
        type: "array",
        items: { type: "string" },
        description: "absolute paths that are carried over, besides those the image names",
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
  "power-on": { type: "object", properties: {} },
  "power-off": { type: "object", properties: { force: { type: "boolean" } } },
  "power-cycle": { type: "object", properties: { force: { type: "boolean" } } },
  copy: {
    type: "object",
    required: ["image", "path"],
    properties: {
      image: { type: "string", description: "name or digest of a file of the library" },
      path: { type: "string", description: "absolute" },
      mode: { type: "string", description: "permission bits; default 0644" },
    },
  },
  capture: {
    type: "object",
    required: ["name"],
    properties: {
      name: { type: "string", description: "of the image" },
      format: { enum: [...captureFormats], description: "default rootfs-tar" },
      disk: { type: "string", description: "default: the one that was installed" },
      leaveOut: {
        type: "array",
        items: { type: "string" },
        description: "absolute paths besides what makes the node itself; * for a part of a name",
      },
    },
  },
  run: {
    type: "object",
    properties: {
      command: { type: "string", description: "one of the configuration, with its values" },
      values: { type: "object", additionalProperties: { type: "string" } },
      argv: { type: "array", items: { type: "string" }, description: "any other; for admins" },
      timeoutSeconds: { type: "integer", maximum: 86_400 },
    },
  },
};

/** When a job begins, as people write it. */
const whenSchema = Type.Object(
  {
    /** `2026-11-22 02:00` in `zone`, or with an offset of its own: `2026-11-22T02:00+01:00`. */
    at: Type.Optional(Type.String({ maxLength: 40 })),
    /** Cancels what has not begun by then. */
    deadline: Type.Optional(Type.String({ maxLength: 40 })),
    zone: Type.String({ default: "UTC", maxLength: 60 }),
    window: Type.Optional(nameSchema),
    after: Type.Optional(Type.Array(Type.String({ maxLength: 100 }), { maxItems: 100 })),
  },
  { additionalProperties: false },
);

interface JobBody extends Asked {
  readonly when?: Static<typeof whenSchema>;
  readonly rollout?: RolloutRequest;
  readonly why?: string;
}

function whenOf({ at, deadline, zone, window, after }: Static<typeof whenSchema>): When {
  const hasTime = at !== undefined || deadline !== undefined;
  return {
    ...(hasTime && { zone: parseZone(zone) }),
    ...(at !== undefined && { notBefore: parseMoment(at, zone) }),
    ...(deadline !== undefined && { deadline: parseMoment(deadline, zone) }),
    ...(window !== undefined && { window }),
    ...(after !== undefined && { after: after as JobId[] }),
  };
}

function requestOf(body: JobBody, who: string, admin: Admin): JobRequest {
  const { when, rollout, why, selector } = body;
  const { nodes, ...asked } = meaningOf(body, {
    nodes: admin.nodes,
    images: admin.library,
    commands: admin.config.commands,
  });
  return {
    ...asked,
    ...(when && whenOf(when)),
    selector,
    nodes: nodes.map(({ id }) => id),
    createdBy: who,
    ...(rollout && { rollout }),
    ...(why !== undefined && { why }),
  };
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
        when: Type.Optional(whenSchema),
        rollout: Type.Optional(Type.Partial(rolloutSchema)),
        /** For the audit. */
        why: Type.Optional(Type.String({ minLength: 1, maxLength: 500 })),
        dryRun: Type.Boolean({ default: false }),
      },
      { additionalProperties: false },
    ),
    response: Type.Union([jobSchema, planSchema]),
    target: ({ body }) => `${body.dryRun ? "plan of " : ""}${body.kind} ${body.selector}`,
    handler: ({ body, who, koa, principal }, admin) => {
      checkRole(body, principal);
      const key = koa.get("Idempotency-Key");
      return admin.idempotency.once(key === "" ? undefined : `${who} ${key}`, body, () => {
        const request = requestOf(body, who, admin);
        if (body.dryRun) {
          koa.status = 200;
          return planOf(request, admin);
        }
        const job = admin.jobs.create(request);
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
  route({
    method: "post",
    path: "/api/v1/jobs/:id/pause",
    role: "operator",
    name: "pause-job",
    summary: "Let nothing more of it begin; what runs goes on",
    params,
    body: Type.Object(
      { reason: Type.String({ minLength: 1, maxLength: 500, default: "no reason given" }) },
      { additionalProperties: false },
    ),
    response: jobSchema,
    isAuditedByRoom: true,
    target: ({ params }) => params.id,
    handler: ({ params, body, who }, admin) =>
      admin.jobs.pause(findJob(params.id, admin).id, who, body.reason),
  }),
  route({
    method: "post",
    path: "/api/v1/jobs/:id/resume",
    role: "operator",
    name: "resume-job",
    summary: "Go on, also after too much failed",
    params,
    response: jobSchema,
    isAuditedByRoom: true,
    target: ({ params }) => params.id,
    handler: ({ params, who }, admin) => admin.jobs.resume(findJob(params.id, admin).id, who),
  }),
  route({
    method: "post",
    path: "/api/v1/jobs/:id/retry",
    role: "operator",
    name: "retry-job",
    summary: "Make a job of the same kind for the nodes that failed in this one",
    status: 202,
    params,
    response: jobSchema,
    target: ({ params }) => params.id,
    handler: ({ params, who, koa }, admin) => {
      const job = admin.jobs.retry(findJob(params.id, admin).id, who);
      koa.set("Location", `/api/v1/jobs/${job.id}`);
      return job;
    },
  }),
];
