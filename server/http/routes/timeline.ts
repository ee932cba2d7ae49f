/** What happened to a node, and why it is stuck. */

import { Type } from "typebox";
import { type MacAddress, type NodeId, parseMacAddress } from "#protocol/brand.ts";
import { momentSources } from "#protocol/timeline.ts";
import { timelineOf } from "../../doctor/timeline.ts";
import { NotFoundError } from "../../errors.ts";
import { type Route, route } from "../route.ts";
import { findingSchema, oneOf } from "../schemas.ts";
import type { Admin } from "../services.ts";

const momentSchema = Type.Object({
  at: Type.Number(),
  until: Type.Number(),
  times: Type.Integer(),
  source: oneOf(momentSources),
  text: Type.String(),
  isFault: Type.Boolean(),
});

/** A node by id, name or MAC address; or a MAC address that is no node yet. */
function findSubject(text: string, { store, nodes }: Pick<Admin, "store" | "nodes">) {
  const named = store.nodes.get(text as NodeId) ?? store.nodes.byName(text);
  if (named) return { mac: named.mac, node: nodes.get(named.id) ?? named };
  const mac = macOf(text);
  if (mac === undefined) {
    throw new NotFoundError(`no node ${JSON.stringify(text)}, and it is no MAC address`);
  }
  const node = store.nodes.byMac(mac);
  return { mac, ...(node && { node: nodes.get(node.id) ?? node }) };
}

function macOf(text: string): MacAddress | undefined {
  try {
    return parseMacAddress(text);
  } catch {
    return undefined; // a name, then
  }
}

export const timelineRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/nodes/:id/timeline",
    role: "viewer",
    name: "get-node-timeline",
    summary: "What happened to a node (id, name or MAC address), and why it is stuck",
    params: Type.Object({ id: Type.String({ maxLength: 100 }) }),
    query: Type.Object(
      {
        hours: Type.Optional(Type.Number({ minimum: 0.1, maximum: 720 })),
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 2000 })),
      },
      { additionalProperties: false },
    ),
    response: Type.Object({
      mac: Type.String(),
      nodeId: Type.Optional(Type.String()),
      name: Type.Optional(Type.String()),
      bootedAt: Type.Optional(Type.Number()),
      findings: Type.Array(findingSchema),
      moments: Type.Array(momentSchema),
    }),
    handler: ({ params, query }, admin) => {
      admin.eventLog.lastId(); // writes what waits to be written
      const subject = findSubject(params.id, admin);
      return timelineOf({ ...subject, hours: query.hours ?? 24, limit: query.limit ?? 500 }, admin);
    },
  }),
];
