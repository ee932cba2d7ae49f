/** Schedules: jobs that are made when their time has come. */

import type { Context } from "koa";
import { type Static, Type } from "typebox";
import { jobKinds } from "#protocol/job.ts";
import type { Schedule } from "#protocol/schedule.ts";
import { NotFoundError } from "../../errors.ts";
import { check } from "../../job/parameters.ts";
import { nextTimes, parseRecurrence } from "../../job/recurrence.ts";
import { rolloutSchema } from "../../job/rollout.ts";
import { mergePatch } from "../../rack/merge-patch.ts";
import { checkRole } from "../asked-role.ts";
import type { Principal } from "../auth.ts";
import { checkIfMatch, setTag } from "../if-match.ts";
import { type Route, route } from "../route.ts";
import {
  jobSchema,
  nameSchema,
  oneOf,
  pageOf,
  scheduleSchema,
  selectorSchema,
} from "../schemas.ts";
import type { Admin } from "../services.ts";

const params = Type.Object({ name: nameSchema });
const previewed = 5;

function viewOf(schedule: Schedule, { clock }: Pick<Admin, "clock">) {
  const { at, zone } = schedule;
  return { ...schedule, next: nextTimes(parseRecurrence(at), zone, clock.now(), previewed) };
}

const bodySchema = Type.Object(
  {
    at: Type.String({ minLength: 1, maxLength: 200 }),
    zone: Type.String({ minLength: 1, maxLength: 60 }),
    kind: oneOf(jobKinds),
    selector: selectorSchema,
    parameters: Type.Record(Type.String(), Type.Unknown(), { default: {} }),
    window: Type.Optional(nameSchema),
    rollout: Type.Optional(rolloutSchema),
    withinMinutes: Type.Optional(Type.Integer({ minimum: 1, maximum: 527_040 })),
    missed: oneOf(["skip", "run-once"], "skip"),
    overlap: oneOf(["skip", "queue"], "skip"),
    dryRun: Type.Boolean({ default: false }),
  },
  { additionalProperties: false },
);

/** What people write of a schedule; the rest moves by itself. */
function documentOf(schedule: Schedule) {
  const { name: _, isPaused: __, createdBy, createdAt, due, last, ...document } = schedule;
  return document;
}

function findSchedule(name: string, { store }: Pick<Admin, "store">): Schedule {
  const schedule = store.schedules.get(name);
  if (!schedule) throw new NotFoundError(`no schedule ${JSON.stringify(name)}`);
  return schedule;
}

function checkUnchanged(koa: Context, name: string, { store }: Pick<Admin, "store">): void {
  const present = store.schedules.get(name);
  checkIfMatch(koa, present && documentOf(present), `schedule ${name}`);
}

interface Asking {
  readonly koa: Context;
  readonly who: string;
  readonly principal: Principal | undefined;
}

function put(
  name: string,
  { dryRun, ...request }: Static<typeof bodySchema>,
  { koa, who, principal }: Asking,
  admin: Pick<Admin, "store" | "schedules" | "clock">,
) {
  checkRole(request, principal);
  const schedule = admin.store.transaction(() => {
    checkUnchanged(koa, name, admin);
    const { plan, put } = admin.schedules;
    return (dryRun ? plan : put)({ name, ...request }, who);
  });
  setTag(koa, documentOf(schedule));
  return viewOf(schedule, admin);
}

export const scheduleRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/schedules",
    role: "viewer",
    name: "list-schedules",
    summary: "Schedules by name, each with its next five times and what came of the last",
    query: Type.Object(
      {
        limit: Type.Integer({ minimum: 1, maximum: 1000, default: 200 }),
        after: Type.Optional(nameSchema),
      },
      { additionalProperties: false },
    ),
    response: pageOf(scheduleSchema),
    handler: ({ query }, admin) => {
      const { limit, after } = query;
      const found = admin.store.schedules.list({ limit, ...(after !== undefined && { after }) });
      const next = found.length === limit ? found.at(-1)?.name : undefined;
      return {
        items: found.map((schedule) => viewOf(schedule, admin)),
        ...(next !== undefined && { next }),
      };
    },
  }),
  route({
    method: "get",
    path: "/api/v1/schedules/:name",
    role: "viewer",
    name: "get-schedule",
    summary: "One schedule; its ETag is what If-Match of a change wants",
    params,
    response: scheduleSchema,
    handler: ({ params, koa }, admin) => {
      const schedule = findSchedule(params.name, admin);
      setTag(koa, documentOf(schedule));
      return viewOf(schedule, admin);
    },
  }),
  route({
    method: "put",
    path: "/api/v1/schedules/:name",
    role: "operator",
    name: "put-schedule",
    summary: "Create or replace a schedule; `dryRun` only says when it would make its jobs",
    params,
    body: bodySchema,
    response: scheduleSchema,
    target: ({ params, body }) => `${body.dryRun ? "plan of " : ""}${params.name}`,
    handler: ({ params, body, ...asking }, admin) => put(params.name, body, asking, admin),
  }),
  route({
    method: "patch",
    path: "/api/v1/schedules/:name",
    role: "operator",
    name: "patch-schedule",
    summary: "Change some of a schedule: a merge patch (RFC 7396); `dryRun` as with put",
    params,
    body: Type.Object({}, { additionalProperties: true }),
    response: scheduleSchema,
    target: ({ params }) => params.name,
    handler: ({ params, body, ...asking }, admin) => {
      const before = documentOf(findSchedule(params.name, admin));
      const wanted = check(bodySchema, mergePatch(before, body), "body");
      return put(params.name, wanted, asking, admin);
    },
  }),
  ...(["pause", "resume"] as const).map((verb) =>
    route({
      method: "post",
      path: `/api/v1/schedules/:name/${verb}`,
      role: "operator",
      name: `${verb}-schedule`,
      summary:
        verb === "pause"
          ? "Make no more jobs until it is resumed"
          : "Make jobs again; what was missed meanwhile is not made up for",
      params,
      response: scheduleSchema,
      target: ({ params }) => params.name,
      handler: ({ params }, admin) =>
        viewOf(admin.schedules.setPaused(params.name, verb === "pause"), admin),
    }),
  ),
  route({
    method: "post",
    path: "/api/v1/schedules/:name/run",
    role: "operator",
    name: "run-schedule",
    summary: "Make its job now, beside those it makes by itself",
    status: 202,
    params,
    response: jobSchema,
    target: ({ params }) => params.name,
    handler: ({ params, who }, admin) => admin.schedules.run(params.name, who),
  }),
  route({
    method: "delete",
    path: "/api/v1/schedules/:name",
    role: "operator",
    name: "delete-schedule",
    summary: "Forget a schedule; jobs it has made go on",
    params,
    status: 204,
    target: ({ params }) => params.name,
    handler: ({ params, koa }, admin) => {
      checkUnchanged(koa, params.name, admin);
      admin.schedules.remove(params.name);
    },
  }),
];
