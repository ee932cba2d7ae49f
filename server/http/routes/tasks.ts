/** The part of a job on one node, and its log. */

import { Type } from "typebox";
import type { TaskId } from "#protocol/brand.ts";
import { NotFoundError } from "../../errors.ts";
import { type Route, route } from "../route.ts";
import { pageOf, taskSchema } from "../schemas.ts";

const params = Type.Object({ id: Type.String({ maxLength: 100 }) });

export const taskRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/tasks/:id",
    role: "viewer",
    name: "get-task",
    summary: "One task",
    params,
    response: taskSchema,
    handler: ({ params }, { store }) => {
      const task = store.tasks.get(params.id as TaskId);
      if (!task) throw new NotFoundError(`no task ${params.id}`);
      return task;
    },
  }),
  route({
    method: "get",
    path: "/api/v1/tasks/:id/log",
    role: "viewer",
    name: "get-task-log",
    summary: "Lines the agent and the server wrote about a task",
    params,
    response: pageOf(Type.Object({ at: Type.Number(), line: Type.String() })),
    handler: ({ params }, { store }) => {
      const id = params.id as TaskId;
      if (!store.tasks.get(id)) throw new NotFoundError(`no task ${params.id}`);
      return { items: store.tasks.log(id) };
    },
  }),
  route({
    method: "post",
    path: "/api/v1/tasks/:id/cancel",
    role: "operator",
    name: "cancel-task",
    summary: "Leave one node out of a job, or stop it at its next safe point",
    status: 202,
    params,
    response: taskSchema,
    isAuditedByRoom: true,
    target: ({ params }) => params.id,
    handler: ({ params, who }, { jobs }) => jobs.cancelTask(params.id as TaskId, who),
  }),
];
