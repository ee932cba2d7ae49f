/** Users, for admins; one's own password and tokens, for everybody. */

import { Type } from "typebox";
import { userRoles } from "#protocol/account.ts";
import { ForbiddenError, UnauthorisedError } from "../../errors.ts";
import { type Principal, peerOf } from "../auth.ts";
import { mayCall, type Route, route } from "../route.ts";
import { nameSchema, oneOf, pageOf } from "../schemas.ts";

const strict = { additionalProperties: false } as const;
const password = Type.String({ minLength: 1, maxLength: 200 });
const role = oneOf(userRoles);
const params = Type.Object({ name: nameSchema });

const userSchema = Type.Object({ name: Type.String(), role, createdAt: Type.Number() });
const tokenSchema = Type.Object({
  id: Type.String(),
  user: Type.String(),
  name: Type.String(),
  role,
  createdAt: Type.Number(),
  expiresAt: Type.Optional(Type.Number()),
  lastUsedAt: Type.Optional(Type.Number()),
});

function signedIn(principal: Principal | undefined): Principal {
  if (!principal) throw new UnauthorisedError("sign in first");
  return principal;
}

/** Whose tokens somebody may see and end: everybody's, or their own. */
function reachOf(principal: Principal | undefined): string | undefined {
  const { role, name } = signedIn(principal);
  return role === "admin" ? undefined : name;
}

export const userRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/users",
    role: "admin",
    name: "list-users",
    summary: "Users and their roles",
    response: pageOf(userSchema),
    handler: (_request, { users }) => ({ items: users.list() }),
  }),
  route({
    method: "post",
    path: "/api/v1/users",
    role: "admin",
    name: "add-user",
    summary: "Let another person in",
    status: 201,
    body: Type.Object({ name: nameSchema, password, role }, strict),
    response: userSchema,
    target: ({ body }) => `${body.name} (${body.role})`,
    handler: ({ body }, { users }) => users.add(body),
  }),
  route({
    method: "patch",
    path: "/api/v1/users/:name",
    role: "admin",
    name: "set-user-role",
    summary: "Change what a user may do",
    params,
    body: Type.Object({ role }, strict),
    response: userSchema,
    target: ({ params, body }) => `${params.name} (${body.role})`,
    handler: ({ params, body }, { users }) => users.setRole(params.name, body.role),
  }),
  route({
    method: "delete",
    path: "/api/v1/users/:name",
    role: "admin",
    name: "remove-user",
    summary: "End a user's account, sessions and tokens at once",
    status: 204,
    params,
    target: ({ params }) => params.name,
    handler: ({ params }, { users }) => users.remove(params.name),
  }),
  route({
    method: "put",
    path: "/api/v1/users/:name/password",
    role: "viewer",
    name: "set-password",
    summary: "Change one's own password with the present one, or, as admin, another user's",
    status: 204,
    params,
    body: Type.Object({ password, current: Type.Optional(password) }, strict),
    target: ({ params }) => params.name,
    handler: async ({ params, body, principal, koa }, { users, accounts }) => {
      const { name, role } = signedIn(principal);
      const isOwn = params.name === name;
      if (!isOwn && role !== "admin") throw new ForbiddenError("only an admin may do that");
      if (isOwn) {
        await accounts.verify({ name, password: body.current ?? "", from: peerOf(koa) });
      }
      await users.setPassword(params.name, body.password);
    },
  }),
  route({
    method: "get",
    path: "/api/v1/tokens",
    role: "viewer",
    name: "list-tokens",
    summary: "One's own sessions and tokens; an admin sees everybody's",
    response: pageOf(tokenSchema),
    handler: ({ principal }, { users }) => ({ items: users.tokens(reachOf(principal)) }),
  }),
  route({
    method: "post",
    path: "/api/v1/tokens",
    role: "viewer",
    name: "add-token",
    summary: "Make a token for a program; it is told once",
    status: 201,
    body: Type.Object(
      {
        name: nameSchema,
        /** Default: as much as the user. */
        role: Type.Optional(role),
        expiresInDays: Type.Integer({ minimum: 1, maximum: 3650, default: 365 }),
      },
      strict,
    ),
    response: Type.Object({ ...tokenSchema.properties, token: Type.String() }),
    target: ({ body }) => body.name,
    handler: ({ body, principal }, { users }) => {
      const { name: user, role: own, isSession } = signedIn(principal);
      if (!isSession) throw new ForbiddenError("a token makes no other token: sign in for that");
      const role = body.role ?? own;
      if (!mayCall(own, { role })) throw new ForbiddenError(`${user} may do no more than ${own}`);
      return users.addToken({ user, name: body.name, role, days: body.expiresInDays });
    },
  }),
  route({
    method: "delete",
    path: "/api/v1/tokens/:id",
    role: "viewer",
    name: "remove-token",
    summary: "End a session or token at once",
    status: 204,
    params: Type.Object({ id: Type.String({ pattern: "^[0-9a-f]{12}$" }) }),
    target: ({ params }) => params.id,
    handler: ({ params, principal }, { users }) => users.removeToken(params.id, reachOf(principal)),
  }),
];
