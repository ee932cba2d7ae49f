/** Rules: what nodes install by themselves when they are trusted for the first time. */

import { Type } from "typebox";
import { parseRule, ruleSchema } from "../../rule/rule.ts";
import { findNode } from "../find-node.ts";
import { type Route, route } from "../route.ts";
import { nameSchema, pageOf } from "../schemas.ts";

const rankedSchema = Type.Intersect([ruleSchema, Type.Object({ origin: Type.String() })]);

const trialSchema = Type.Object({
  verdicts: Type.Array(
    Type.Object({ name: Type.String(), origin: Type.String(), why: Type.Array(Type.String()) }),
  ),
  text: Type.String(),
});

export const ruleRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/rules",
    role: "viewer",
    name: "list-rules",
    summary: "The server's rules, then those of the racks, in the order they are asked",
    response: pageOf(rankedSchema),
    handler: (_request, { rules }) => ({ items: rules.list() }),
  }),
  route({
    method: "post",
    path: "/api/v1/rules",
    role: "admin",
    name: "add-rule",
    summary: "Add a rule to the server's; it concerns nodes that are trusted from now on",
    status: 201,
    body: Type.Object(
      { rule: ruleSchema, before: Type.Optional(nameSchema) },
      { additionalProperties: false },
    ),
    response: ruleSchema,
    target: ({ body }) => body.rule.name,
    handler: ({ body }, { rules }) => {
      const rule = parseRule(body.rule);
      rules.add(rule, body.before);
      return rule;
    },
  }),
  route({
    method: "delete",
    path: "/api/v1/rules/:name",
    role: "admin",
    name: "remove-rule",
    summary: "Remove one of the server's rules; a rack's are in its file",
    params: Type.Object({ name: nameSchema }),
    status: 204,
    target: ({ params }) => params.name,
    handler: ({ params }, { rules }) => rules.remove(params.name),
  }),
  route({
    method: "get",
    path: "/api/v1/nodes/:id/rules",
    role: "viewer",
    name: "try-rules",
    summary: "Which rule would match the node and why others do not; nothing is done",
    params: Type.Object({ id: Type.String({ maxLength: 100 }) }),
    response: trialSchema,
    handler: ({ params }, admin) => admin.rules.try(findNode(params.id, admin)),
  }),
];
