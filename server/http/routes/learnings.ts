/** Learning a rack: stacks are powered one after the other to find which MAC address sits where. */

import { Type } from "typebox";
import { NotFoundError } from "../../errors.ts";
import { type Route, route } from "../route.ts";
import { nameSchema } from "../schemas.ts";

export const learningRoutes: readonly Route[] = [
  route({
    method: "post",
    path: "/api/v1/learnings",
    role: "operator",
    name: "start-learning",
    summary: "Power the slots of a rack in turn and learn which node is in which",
    status: 202,
    body: Type.Object({ rack: nameSchema }, { additionalProperties: false }),
    target: ({ body }) => body.rack,
    handler: ({ body, who }, { store, learning }) => {
      if (!store.racks.get(body.rack)) throw new NotFoundError(`no rack ${body.rack}`);
      return learning.start(body.rack, who);
    },
  }),
  route({
    method: "get",
    path: "/api/v1/learnings/current",
    role: "viewer",
    name: "get-learning",
    summary: "How the learning goes",
    handler: (_request, { learning }) => learning.status(),
  }),
  route({
    method: "delete",
    path: "/api/v1/learnings/current",
    role: "operator",
    name: "cancel-learning",
    summary: "Stop learning; what was learned stays",
    status: 204,
    target: (_request, { learning }) => learning.status().rack,
    handler: async (_request, { learning }) => {
      await learning.cancel();
    },
  }),
];
