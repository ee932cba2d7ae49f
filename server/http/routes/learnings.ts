/** Learning a rack: stacks are powered one after the other to find which MAC address sits where. */

import { Type } from "typebox";
import { parseMacAddress } from "#protocol/brand.ts";
import { flagReasons } from "#protocol/learning.ts";
import { type Route, route } from "../route.ts";
import { nameSchema, oneOf, slotSchema } from "../schemas.ts";

const strict = { additionalProperties: false } as const;
const text = Type.String();
const seconds = (minimum: number, maximum: number, description: string) =>
  Type.Optional(Type.Number({ minimum, maximum, description }));

const startSchema = Type.Object(
  {
    rack: nameSchema,
    slotTimeoutSeconds: seconds(1, 3600, "time the boards of an outlet get to be heard (120)"),
    lateTimeoutSeconds: seconds(
      1,
      7200,
      "the same for who was silent, tried again (2.5 times slotTimeoutSeconds)",
    ),
    quietSeconds: seconds(0.1, 600, "listening with every outlet off (30)"),
    settleSeconds: seconds(0, 60, "after an outlet went off (1)"),
    force: Type.Optional(
      Type.Boolean({ description: "although installed nodes run and lose their power" }),
    ),
    dryRun: Type.Boolean({ default: false, description: "only say what would be switched" }),
  },
  strict,
);

const statusSchema = Type.Object({
  state: oneOf(["idle", "running", "done", "failed", "cancelled"]),
  id: Type.Optional(text),
  rack: Type.Optional(text),
  startedAt: Type.Optional(Type.Number()),
  endedAt: Type.Optional(Type.Number()),
  reason: Type.Optional(text),
  doing: Type.Optional(text),
  until: Type.Optional(Type.Number()),
  progress: Type.Optional(Type.Object({ done: Type.Integer(), total: Type.Integer() })),
  slots: Type.Array(
    Type.Object({
      state: oneOf(["waiting", "listening", "seen", "heard", "flagged"]),
      slot: slotSchema,
      mac: Type.Optional(text),
      address: Type.Optional(text),
      warning: Type.Optional(text),
      reason: Type.Optional(text),
    }),
  ),
  flagged: Type.Array(
    Type.Object({
      reason: oneOf(flagReasons),
      text,
      remedy: Type.Optional(text),
      stack: Type.Optional(text),
      slot: Type.Optional(slotSchema),
      mac: Type.Optional(text),
      answers: Type.Array(oneOf(["confirm", "keep", "swap", "place"])),
    }),
  ),
});

const answerSchema = Type.Object({ done: Type.Array(text) });
/** `all`, a stack, a slot `stack/slot`, or a MAC address. */
const target = Type.String({ pattern: "^[A-Za-z0-9:./_-]{1,200}$" });
const slotText = Type.String({ pattern: "^[a-z0-9-]{1,63}(/[a-z0-9-]{1,63}){1,2}$" });
const macText = Type.String({ pattern: "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$" });
const targets = Type.Object(
  { targets: Type.Array(target, { minItems: 1, maxItems: 1000 }) },
  strict,
);

export const learningRoutes: readonly Route[] = [
  route({
    method: "post",
    path: "/api/v1/learnings",
    role: "operator",
    name: "start-learning",
    summary: "Power the slots of a rack in turn and learn which node is in which",
    status: 202,
    body: startSchema,
    target: ({ body }) => `${body.dryRun ? "plan of " : ""}${body.rack}`,
    handler: ({ body: { dryRun, ...request }, who }, { learning }) =>
      dryRun
        ? { dryRun: true, ...learning.preview(request) }
        : { dryRun: false, ...learning.start(request, who) },
  }),
  route({
    method: "get",
    path: "/api/v1/learnings/current",
    role: "viewer",
    name: "get-learning",
    summary: "How the learning goes, or went: every slot, and what needs a look",
    response: statusSchema,
    handler: (_request, { learning }) => learning.status(),
  }),
  route({
    method: "delete",
    path: "/api/v1/learnings/current",
    role: "operator",
    name: "cancel-learning",
    summary: "Stop learning; what was on is on again, and what was learned stays",
    status: 204,
    target: (_request, { learning }) => learning.status().rack,
    handler: async (_request, { learning }) => {
      await learning.cancel();
    },
  }),
  route({
    method: "post",
    path: "/api/v1/learnings/current/confirm",
    role: "operator",
    name: "confirm-learning",
    summary: "Say yes: a board is in the slot it was given by order, has moved, or was exchanged",
    body: targets,
    response: answerSchema,
    target: ({ body }) => body.targets.join(" "),
    handler: ({ body }, { learning }) => learning.confirm(body.targets),
  }),
  route({
    method: "post",
    path: "/api/v1/learnings/current/keep",
    role: "operator",
    name: "keep-learning",
    summary: "Say no to what is asked: everything stays as it was",
    body: targets,
    response: answerSchema,
    target: ({ body }) => body.targets.join(" "),
    handler: ({ body }, { learning }) => learning.keep(body.targets),
  }),
  route({
    method: "post",
    path: "/api/v1/learnings/current/swap",
    role: "operator",
    name: "swap-slots",
    summary: "Exchange the boards of two slots",
    body: Type.Object({ one: slotText, other: slotText }, strict),
    response: answerSchema,
    target: ({ body }) => `${body.one} ${body.other}`,
    handler: ({ body }, { learning }) => learning.swap(body.one, body.other),
  }),
  route({
    method: "post",
    path: "/api/v1/learnings/current/place",
    role: "operator",
    name: "place-board",
    summary: "Say which slot a MAC address is in",
    body: Type.Object({ mac: macText, slot: slotText }, strict),
    response: answerSchema,
    target: ({ body }) => `${body.mac} ${body.slot}`,
    handler: ({ body }, { learning }) => learning.place(parseMacAddress(body.mac), body.slot),
  }),
];
