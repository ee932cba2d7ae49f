/** Who did what. */

import { Type } from "typebox";
import { type Route, route } from "../route.ts";
import { auditSchema, pageOf } from "../schemas.ts";

export const auditRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/audit",
    role: "admin",
    name: "list-audit",
    summary: "Who did what, newest first",
    query: Type.Object(
      {
        limit: Type.Integer({ minimum: 1, maximum: 500, default: 100 }),
        after: Type.Optional(Type.Integer({ minimum: 1 })),
      },
      { additionalProperties: false },
    ),
    response: pageOf(auditSchema),
    handler: ({ query }, { store }) => {
      const { limit, after } = query;
      const items = store.audit.list({ limit, ...(after !== undefined && { before: after }) });
      const last = items.at(-1);
      return { items, ...(last && items.length === limit && { next: String(last.id) }) };
    },
  }),
];
