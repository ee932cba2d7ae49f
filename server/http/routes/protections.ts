/** What no job may write: a node with all its disks, or one disk, in whatever node it is. */

import { Type } from "typebox";
import type { Protection } from "#protocol/node.ts";
import { NotFoundError } from "../../errors.ts";
import { findNode } from "../find-node.ts";
import { type Route, type RouteRequest, route } from "../route.ts";
import { nodeSchema, pageOf, protectionSchema } from "../schemas.ts";
import type { Admin } from "../services.ts";

const nodeParams = Type.Object({ id: Type.String({ maxLength: 100 }) });
const diskParams = Type.Object({ serial: Type.String({ minLength: 1, maxLength: 128 }) });
const body = Type.Object(
  { reason: Type.String({ minLength: 1, maxLength: 500 }) },
  { additionalProperties: false },
);
const diskSchema = Type.Intersect([Type.Object({ serial: Type.String() }), protectionSchema]);

function protectionOf(
  {
    body: { reason },
    who,
  }: Pick<RouteRequest<unknown, unknown, { reason: string }>, "body" | "who">,
  { clock }: Admin,
): Protection {
  return { reason, by: who, at: clock.now() };
}

export const protectionRoutes: readonly Route[] = [
  route({
    method: "put",
    path: "/api/v1/nodes/:id/protection",
    role: "operator",
    name: "protect-node",
    summary: "Let no job write the node's disks",
    params: nodeParams,
    body,
    response: nodeSchema,
    target: ({ params }) => params.id,
    handler: (request, admin) => {
      const { id } = findNode(request.params.id, admin);
      return admin.nodes.update(id, { protection: protectionOf(request, admin) });
    },
  }),
  route({
    method: "delete",
    path: "/api/v1/nodes/:id/protection",
    role: "admin",
    name: "release-node",
    summary: "End the node's protection",
    params: nodeParams,
    response: nodeSchema,
    target: ({ params }) => params.id,
    handler: ({ params }, admin) =>
      admin.nodes.update(findNode(params.id, admin).id, { protection: undefined }),
  }),
  route({
    method: "get",
    path: "/api/v1/protected-disks",
    role: "viewer",
    name: "list-protected-disks",
    summary: "Disks that no job may write, by serial number",
    response: pageOf(diskSchema),
    handler: (_request, { store }) => ({ items: store.protectedDisks.list() }),
  }),
  route({
    method: "put",
    path: "/api/v1/protected-disks/:serial",
    role: "operator",
    name: "protect-disk",
    summary: "Let no job write the disk, in whatever node it is",
    params: diskParams,
    body,
    response: diskSchema,
    target: ({ params }) => params.serial,
    handler: (request, admin) => {
      const { serial } = request.params;
      admin.nodes.protectDisk(serial, protectionOf(request, admin));
      return admin.store.protectedDisks.get(serial);
    },
  }),
  route({
    method: "delete",
    path: "/api/v1/protected-disks/:serial",
    role: "admin",
    name: "release-disk",
    summary: "End the disk's protection",
    params: diskParams,
    status: 204,
    target: ({ params }) => params.serial,
    handler: ({ params: { serial } }, { nodes, store }) => {
      if (!store.protectedDisks.get(serial)) {
        throw new NotFoundError(`disk ${JSON.stringify(serial)} is not protected`);
      }
      nodes.protectDisk(serial, undefined);
    },
  }),
];
