/** Rack files: what stands where, and which outlet powers it. */

import { Type } from "typebox";
import type { Rack } from "#protocol/rack.ts";
import { ConflictError, InvalidInputError, NotFoundError } from "../../errors.ts";
import { parseRackFile } from "../../rack/rack-file.ts";
import type { Principal } from "../auth.ts";
import { withoutSettings } from "../rack-view.ts";
import { type Route, route } from "../route.ts";
import { nameSchema, pageOf, rackSchema } from "../schemas.ts";

const params = Type.Object({ name: nameSchema });

function viewOf(rack: Rack, principal: Principal | undefined): Rack {
  return principal?.role === "admin" ? rack : withoutSettings(rack);
}

export const rackRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/racks",
    role: "viewer",
    name: "list-racks",
    summary: "All racks",
    response: pageOf(rackSchema),
    handler: ({ principal }, { store }) => ({
      items: store.racks.list().map((rack) => viewOf(rack, principal)),
    }),
  }),
  route({
    method: "get",
    path: "/api/v1/racks/:name",
    role: "viewer",
    name: "get-rack",
    summary: "One rack",
    params,
    response: rackSchema,
    handler: ({ params, principal }, { store }) => {
      const rack = store.racks.get(params.name);
      if (!rack) throw new NotFoundError(`no rack ${params.name}`);
      return viewOf(rack, principal);
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
    handler: ({ params, body }, { store }) => {
      const rack = parseRackFile(body, `rack ${params.name}`);
      if (rack.name !== params.name) {
        throw new InvalidInputError(`the file is of rack ${rack.name}, not ${params.name}`);
      }
      store.racks.put(rack);
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
    handler: ({ params }, { store }) => {
      if (!store.racks.get(params.name)) throw new NotFoundError(`no rack ${params.name}`);
      const busy = store.tasks
        .unfinished()
        .map((task) => store.nodes.get(task.nodeId))
        .find((node) => node?.slot?.rack === params.name);
      if (busy)
        throw new ConflictError(`node ${busy.name} of the rack has a task: cancel it first`);
      store.racks.delete(params.name);
    },
  }),
];
