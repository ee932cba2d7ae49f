/** What was told to people, what waits to be, and by which channels. */

import { Type } from "typebox";
import { type Route, route } from "../route.ts";
import { nameSchema, noticeSchema, pageOf } from "../schemas.ts";

export const noticeRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/notices",
    role: "viewer",
    name: "list-notices",
    summary: "Notices to people, the newest first",
    query: Type.Object({
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 50 })),
    }),
    response: pageOf(noticeSchema),
    handler: ({ query }, { store }) => ({ items: store.notices.list(query.limit ?? 50) }),
  }),
  route({
    method: "get",
    path: "/api/v1/notification-channels",
    role: "viewer",
    name: "list-notification-channels",
    summary: "The channels of the configuration and what each tells of",
    handler: (_request, { notifier }) => ({ items: notifier.channels }),
  }),
  route({
    method: "post",
    path: "/api/v1/notification-channels/:name/test",
    role: "admin",
    name: "test-notification-channel",
    summary: "Send a test message now",
    status: 204,
    params: Type.Object({ name: nameSchema }),
    target: ({ params }) => params.name,
    handler: async ({ params }, { notifier }) => {
      await notifier.test(params.name);
    },
  }),
];
