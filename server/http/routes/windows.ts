/** Maintenance windows: when planned jobs may begin, and when they may not. */

import type { Context } from "koa";
import { type Static, Type } from "typebox";
import type { Window } from "#protocol/schedule.ts";
import { ConflictError, NotFoundError } from "../../errors.ts";
import { check } from "../../job/parameters.ts";
import { nextTimes, parseRecurrence } from "../../job/recurrence.ts";
import { checkedWindow, closesAt, userOfWindow } from "../../job/window.ts";
import { mergePatch } from "../../rack/merge-patch.ts";
import { checkIfMatch, setTag } from "../if-match.ts";
import { type Route, route } from "../route.ts";
import { nameSchema, oneOf, pageOf, windowSchema } from "../schemas.ts";
import type { Admin } from "../services.ts";

const params = Type.Object({ name: nameSchema });
const previewed = 5;

const bodySchema = Type.Object(
  {
    effect: oneOf(["allows", "forbids"]),
    opens: Type.String({ minLength: 1, maxLength: 200 }),
    minutes: Type.Integer({ minimum: 1, maximum: 527_040 }), // a leap year
    zone: Type.String({ minLength: 1, maxLength: 60 }),
    dryRun: Type.Boolean({ default: false }),
  },
  { additionalProperties: false },
);

/** With what people ask next: is it open, and when does it open again? */
function viewOf(window: Window, { clock }: Pick<Admin, "clock">) {
  const now = clock.now();
  const closes = closesAt(window, now);
  return {
    ...window,
    ...(closes !== undefined && { openUntil: closes }),
    next: nextTimes(parseRecurrence(window.opens), window.zone, now, previewed),
  };
}

function findWindow(name: string, { store }: Pick<Admin, "store">): Window {
  const window = store.windows.get(name);
  if (!window) throw new NotFoundError(`no window ${JSON.stringify(name)}`);
  return window;
}

function put(
  koa: Context,
  name: string,
  body: Static<typeof bodySchema>,
  admin: Pick<Admin, "store" | "clock">,
) {
  const { dryRun, ...rest } = body;
  const window = checkedWindow({ name, ...rest });
  admin.store.transaction(() => {
    checkIfMatch(koa, admin.store.windows.get(name), `window ${name}`);
    if (!dryRun) admin.store.windows.put(window);
  });
  setTag(koa, window);
  return viewOf(window, admin);
}

export const windowRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/windows",
    role: "viewer",
    name: "list-windows",
    summary: "Maintenance windows, each with its next five openings",
    response: pageOf(windowSchema),
    handler: (_, admin) => ({
      items: admin.store.windows.list().map((window) => viewOf(window, admin)),
    }),
  }),
  route({
    method: "get",
    path: "/api/v1/windows/:name",
    role: "viewer",
    name: "get-window",
    summary: "One window; its ETag is what If-Match of a change wants",
    params,
    response: windowSchema,
    handler: ({ params, koa }, admin) => {
      const window = findWindow(params.name, admin);
      setTag(koa, window);
      return viewOf(window, admin);
    },
  }),
  route({
    method: "put",
    path: "/api/v1/windows/:name",
    role: "admin",
    name: "put-window",
    summary: "Create or replace a window; `dryRun` only says when it would open",
    params,
    body: bodySchema,
    response: windowSchema,
    target: ({ params, body }) => `${body.dryRun ? "plan of " : ""}${params.name}`,
    handler: ({ params, body, koa }, admin) => put(koa, params.name, body, admin),
  }),
  route({
    method: "patch",
    path: "/api/v1/windows/:name",
    role: "admin",
    name: "patch-window",
    summary: "Change some of a window: a merge patch (RFC 7396); `dryRun` as with put",
    params,
    body: Type.Object({}, { additionalProperties: true }),
    response: windowSchema,
    target: ({ params }) => params.name,
    handler: ({ params, body, koa }, admin) => {
      const { name, ...before } = findWindow(params.name, admin);
      return put(koa, name, check(bodySchema, mergePatch(before, body), "body"), admin);
    },
  }),
  route({
    method: "delete",
    path: "/api/v1/windows/:name",
    role: "admin",
    name: "delete-window",
    summary: "Forget a window; refused while an unfinished job or a schedule needs it",
    params,
    status: 204,
    target: ({ params }) => params.name,
    handler: ({ params, koa }, admin) => {
      const window = findWindow(params.name, admin);
      const { name } = window;
      checkIfMatch(koa, window, `window ${name}`);
      const user = userOfWindow(name, admin.store);
      if (user !== undefined) throw new ConflictError(`${user} needs window ${name}`);
      admin.store.windows.delete(name);
    },
  }),
];
