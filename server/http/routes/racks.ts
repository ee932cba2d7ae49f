/** Rack files: what stands where, and which outlet powers it. */

import type { Context } from "koa";
import { Type } from "typebox";
import type { Rack } from "#protocol/rack.ts";
import { ConflictError, PreconditionFailedError } from "../../errors.ts";
import type { Racks } from "../../rack/racks.ts";
import type { Principal } from "../auth.ts";
import { withoutSettings } from "../rack-view.ts";
import { type Route, route } from "../route.ts";
import { findingSchema, nameSchema, oneOf, pageOf, rackSchema } from "../schemas.ts";
import type { Admin } from "../services.ts";

const params = Type.Object({ name: nameSchema });

function viewOf(rack: Rack, principal: Principal | undefined): Rack {
  return principal?.role === "admin" ? rack : withoutSettings(rack);
}

function tag(koa: Context, racks: Pick<Racks, "revisionOf">, name: string): void {
  const revision = racks.revisionOf(name);
  if (revision !== undefined) koa.set("ETag", `"${revision}"`);
}

/** `If-Match` (RFC 9110 §13.1.1). @throws PreconditionFailedError for `*` where there is none */
function wantedRevision(
  koa: Context,
  racks: Pick<Racks, "revisionOf">,
  name: string,
): string | undefined {
  const header = koa.get("If-Match");
  if (header === "") return undefined;
  if (header !== "*") return header.replace(/^"(.*)"$/, "$1");
  const revision = racks.revisionOf(name);
  if (revision === undefined) throw new PreconditionFailedError(`no rack ${name}`);
  return revision;
}

/** Its outlets are being switched one by one, and its slots filled. @throws ConflictError */
function refuseWhileLearned(name: string, { learning }: Admin): void {
  const { state, rack } = learning.status();
  if (state !== "running" || rack !== name) return;
  throw new ConflictError(`rack ${name} is being learned: wait, or learn cancel`);
}

const reportSchema = Type.Object({
  name: Type.String(),
  revision: Type.Optional(Type.String()),
  differences: Type.Array(
    Type.Object({
      where: Type.String(),
      before: Type.Optional(Type.String()),
      after: Type.Optional(Type.String()),
    }),
  ),
  findings: Type.Array(findingSchema),
});

export const rackRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/racks",
    role: "viewer",
    name: "list-racks",
    summary: "All racks",
    response: pageOf(rackSchema),
    handler: ({ principal }, { racks }) => ({
      items: racks.list().map((rack) => viewOf(rack, principal)),
    }),
  }),
  route({
    method: "get",
    path: "/api/v1/racks/:name",
    role: "viewer",
    name: "get-rack",
    summary: "One rack; its ETag is what If-Match of a change wants",
    params,
    response: rackSchema,
    handler: ({ params, principal, koa }, { racks }) => {
      const rack = viewOf(racks.get(params.name), principal);
      tag(koa, racks, params.name);
      return rack;
    },
  }),
  route({
    method: "get",
    path: "/api/v1/racks/:name/file",
    role: "admin",
    name: "get-rack-file",
    summary: "The YAML file that makes this rack; secrets are `kept: true`, which keeps them",
    params,
    responseType: "application/yaml",
    response: Type.String(),
    handler: ({ params, koa }, { racks }) => {
      const file = racks.file(params.name);
      tag(koa, racks, params.name);
      koa.type = "application/yaml";
      return file;
    },
  }),
  route({
    method: "put",
    path: "/api/v1/racks/:name",
    role: "admin",
    name: "put-rack",
    summary: "Create or replace a rack from its file, YAML or JSON",
    params,
    bodyKind: "text",
    body: Type.String(),
    response: rackSchema,
    target: ({ params }) => params.name,
    handler: ({ params, body, koa }, admin) => {
      const { racks } = admin;
      refuseWhileLearned(params.name, admin);
      const rack = racks.put(params.name, body, wantedRevision(koa, racks, params.name));
      tag(koa, racks, params.name);
      return rack;
    },
  }),
  route({
    method: "patch",
    path: "/api/v1/racks/:name",
    role: "admin",
    name: "patch-rack",
    summary:
      "Change some of a rack: a merge patch (RFC 7396) of its file, where stacks and slots may be objects by name",
    params,
    body: Type.Object({}, { additionalProperties: true }),
    response: rackSchema,
    target: ({ params }) => params.name,
    handler: ({ params, body, koa }, admin) => {
      const { racks } = admin;
      refuseWhileLearned(params.name, admin);
      const rack = racks.patch(params.name, body, wantedRevision(koa, racks, params.name));
      tag(koa, racks, params.name);
      return rack;
    },
  }),
  route({
    method: "delete",
    path: "/api/v1/racks/:name",
    role: "admin",
    name: "delete-rack",
    summary: "Forget a rack; refused while a task runs on one of its nodes",
    params,
    status: 204,
    target: ({ params }) => params.name,
    handler: ({ params }, admin) => {
      refuseWhileLearned(params.name, admin);
      admin.racks.delete(params.name);
    },
  }),
  route({
    method: "post",
    path: "/api/v1/rack-checks",
    role: "admin",
    name: "check-rack",
    summary: "What a rack file would change and whether it fits this site; nothing is changed",
    query: Type.Object(
      {
        /** Ask every outlet for its state too. */
        outlets: Type.Boolean({ default: false }),
      },
      { additionalProperties: false },
    ),
    bodyKind: "text",
    body: Type.String(),
    response: reportSchema,
    handler: ({ body, query }, { racks }) => racks.check(body, query.outlets),
  }),
  route({
    method: "post",
    path: "/api/v1/outlet-queries",
    role: "admin",
    name: "query-outlet",
    summary: "Ask an outlet that need not be in a rack for its state; nothing is switched",
    body: Type.Object(
      { driver: nameSchema, settings: Type.Record(Type.String(), Type.Unknown()) },
      { additionalProperties: false },
    ),
    response: Type.Object({ state: oneOf(["on", "off", "unknown"]) }),
    target: ({ body }) => body.driver,
    handler: async ({ body }, { racks }) => ({ state: await racks.probe(body) }),
  }),
];
