/** Live load of a node (server-sent events): measured only while such a stream is open. */

import { Type } from "typebox";
import { findNode } from "../find-node.ts";
import { type Route, route } from "../route.ts";
import { openStream } from "../streams.ts";

export const loadRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/nodes/:id/load",
    role: "viewer",
    name: "watch-node-load",
    summary:
      "Processor, memory, temperature and network of a node, each second (server-sent events)",
    params: Type.Object({ id: Type.String({ maxLength: 100 }) }),
    responseType: "text/event-stream",
    handler: ({ params, koa }, admin) => {
      const { id } = findNode(params.id, admin);
      const stream = openStream(koa, admin);
      const stop = admin.watching.follow(id, (load) =>
        stream.write(`data: ${JSON.stringify({ at: admin.clock.now(), ...load })}\n\n`),
      );
      stream.onClose(stop);
    },
  }),
];
