/** What is planned: windows, blackouts, schedules and jobs side by side. */

import { Type } from "typebox";
import { instant } from "#protocol/brand.ts";
import { calendarOf } from "../../job/calendar.ts";
import { type Route, route } from "../route.ts";
import { oneOf } from "../schemas.ts";

const dayMs = 24 * 3_600_000;

const response = Type.Object({
  entries: Type.Array(
    Type.Object({
      kind: oneOf(["window", "blackout", "schedule", "job"]),
      name: Type.String(),
      zone: Type.String(),
      at: Type.Number(),
      until: Type.Optional(Type.Number()),
      text: Type.Optional(Type.String()),
    }),
  ),
  isWhole: Type.Boolean(),
});

export const calendarRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/calendar",
    role: "viewer",
    name: "get-calendar",
    summary:
      "Windows, blackouts, runs of schedules and jobs with a time, of some days; oldest first",
    query: Type.Object(
      {
        /** Milliseconds since 1970; default: now. */
        from: Type.Optional(Type.Integer({ minimum: 0, maximum: 8_640_000_000_000 })),
        days: Type.Integer({ minimum: 1, maximum: 31, default: 7 }),
      },
      { additionalProperties: false },
    ),
    response,
    handler: ({ query: { from, days } }, { store, clock }) => {
      const now = clock.now();
      const begin = from === undefined ? now : instant(from);
      return calendarOf(store, { from: begin, until: instant(begin + days * dayMs), now });
    },
  }),
];
