/** Schedules: jobs that are made when their time has come. */

import { Type } from "typebox";
import { jobKinds } from "#protocol/job.ts";
import type { Schedule } from "#protocol/schedule.ts";
import { NotFoundError } from "../../errors.ts";
import { nextTimes, parseRecurrence } from "../../job/recurrence.ts";
import { rolloutSchema } from "../../job/rollout.ts";
import { checkRole } from "../asked-role.ts";
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
    summary: "One schedule",
    params,
    response: scheduleSchema,
    handler: ({ params }, admin) => {
      const schedule = admin.store.schedules.get(params.name);
      if (!schedule) throw new NotFoundError(`no schedule ${JSON.stringify(params.name)}`);
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
    body: Type.Object(
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
    ),
    response: scheduleSchema,
    target: ({ params, body }) => `${body.dryRun ? "plan of " : ""}${params.name}`,
    handler: ({ params, body, who, principal }, admin) => {
      checkRole(body, principal);
      const { dryRun, ...request } = body;
      const named = { name: params.name, ...request };
      const { plan, put } = admin.schedules;
      return viewOf(dryRun ? plan(named, who) : put(named, who), admin);
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
    handler: ({ params }, admin) => admin.schedules.remove(params.name),
  }),
];
