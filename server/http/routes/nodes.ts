/** Nodes, found by id or by name. */

import { Type } from "typebox";
import { nodeStates } from "#protocol/node.ts";
import { codeToApprove } from "../../enrol/asks.ts";
import { ConflictError } from "../../errors.ts";
import { tagPattern } from "../../rule/rule.ts";
import { findNode } from "../find-node.ts";
import { type Route, route } from "../route.ts";
import { hostnameSchema, nameSchema, nodeSchema, oneOf, pageOf } from "../schemas.ts";

const params = Type.Object({ id: Type.String({ maxLength: 100 }) });
const codeSchema = Type.String({ pattern: "^[0-9A-Za-z]{4}-[0-9A-Za-z]{4}$" });

export const nodeRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/nodes",
    role: "viewer",
    name: "list-nodes",
    summary: "Nodes, by state or rack",
    query: Type.Object(
      { state: Type.Optional(oneOf(nodeStates)), rack: Type.Optional(nameSchema) },
      { additionalProperties: false },
    ),
    response: pageOf(nodeSchema),
    handler: ({ query }, { nodes }) => ({
      items: nodes
        .list()
        .filter((node) => query.state === undefined || node.state === query.state)
        .filter((node) => query.rack === undefined || node.slot?.rack === query.rack),
    }),
  }),
  route({
    method: "get",
    path: "/api/v1/nodes/:id",
    role: "viewer",
    name: "get-node",
    summary: "One node, by id or name",
    params,
    response: nodeSchema,
    handler: ({ params }, admin) => {
      const node = findNode(params.id, admin);
      return admin.nodes.get(node.id) ?? node; // the journal is behind in when it was last seen
    },
  }),
  route({
    method: "patch",
    path: "/api/v1/nodes/:id",
    role: "operator",
    name: "update-node",
    summary: "Rename a node, from its next install on; give it other tags",
    params,
    body: Type.Object(
      {
        name: Type.Optional(hostnameSchema),
        /** All of them: those that are not here are taken away. */
        tags: Type.Optional(
          Type.Array(Type.String({ pattern: tagPattern }), { maxItems: 64, uniqueItems: true }),
        ),
      },
      { additionalProperties: false },
    ),
    response: nodeSchema,
    target: ({ params }) => params.id,
    handler: ({ params, body }, admin) => {
      const node = findNode(params.id, admin);
      const { name, tags } = body;
      const other = name === undefined ? undefined : admin.store.nodes.byName(name);
      if (other && other.id !== node.id) throw new ConflictError(`name ${name} is taken`);
      return admin.nodes.update(node.id, {
        ...(name !== undefined && { name }),
        ...(tags && { tags: tags.length > 0 ? tags.toSorted() : undefined }),
      });
    },
  }),
  route({
    method: "post",
    path: "/api/v1/nodes/:id/approve",
    role: "admin",
    name: "approve-node",
    summary: "Let a node enrol, by the code on its screen where several ask, and get jobs",
    params,
    query: Type.Object({ code: Type.Optional(codeSchema) }, { additionalProperties: false }),
    response: nodeSchema,
    target: ({ params, query }) =>
      query.code === undefined ? params.id : `${params.id} (${query.code.toUpperCase()})`,
    handler: ({ params, query }, admin) => {
      const node = findNode(params.id, admin);
      const code = codeToApprove(node, query.code, admin.clock.now());
      return admin.store.transaction(() => {
        // One that has its key needs no second one: an exchanged board asks first, with a code.
        const isKnown = node.certificate !== undefined;
        if (code !== undefined || !isKnown) admin.windows.approve(node.mac, code);
        return admin.nodes.approve(node.id);
      });
    },
  }),
  route({
    method: "post",
    path: "/api/v1/nodes/:id/revoke",
    role: "admin",
    name: "revoke-node",
    summary: "End a node's certificate and its work at once, cut its connections, and hold it back",
    params,
    response: nodeSchema,
    target: ({ params }) => params.id,
    handler: ({ params, who }, admin) => {
      const { id } = findNode(params.id, admin);
      const revoked = admin.nodes.revoke(id, `${who} revoked its certificate`);
      // Killed in between: each fails by itself, as its node is held back.
      for (const task of admin.store.tasks.unfinishedOf(id)) admin.jobs.cancelTask(task.id, who);
      return admin.nodes.get(id) ?? revoked;
    },
  }),
  route({
    method: "post",
    path: "/api/v1/nodes/:id/retire",
    role: "admin",
    name: "retire-node",
    summary: "Free the slot, name and address of a board that is gone; its certificate ends",
    params,
    response: nodeSchema,
    target: ({ params }) => params.id,
    handler: ({ params }, { store, nodes, leases }) => {
      const node = findNode(params.id, { store });
      return store.transaction(() => {
        const retired = nodes.retire(node.id);
        leases.forget(node.mac);
        return retired;
      });
    },
  }),
];
