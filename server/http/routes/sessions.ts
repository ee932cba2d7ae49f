/** Set-up code, sign-in and sign-out. */

import type { Context } from "koa";
import { Type } from "typebox";
import { userRoles } from "#protocol/account.ts";
import { UnauthorisedError } from "../../errors.ts";
import { peerOf, type Session, sessionCookie } from "../auth.ts";
import { type Route, route } from "../route.ts";
import { nameSchema, oneOf } from "../schemas.ts";
import type { Admin } from "../services.ts";

const password = Type.String({ minLength: 1, maxLength: 200 });
const sessionSchema = Type.Object({
  token: Type.String(),
  name: Type.String(),
  role: oneOf(userRoles),
  expiresAt: Type.Number(),
});

/** The browser keeps the cookie, out of reach of scripts; programs keep the token of the answer. */
function setCookie(koa: Context, session: Session, { clock }: Admin): Session {
  koa.cookies.set(sessionCookie, session.token, {
    httpOnly: true,
    sameSite: "strict",
    path: "/",
    maxAge: session.expiresAt - clock.now(),
  });
  return session;
}

export const sessionRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/setup",
    role: "public",
    name: "get-setup",
    summary: "Whether the first admin is still to be made",
    response: Type.Object({ needed: Type.Boolean() }),
    handler: (_request, { accounts }) => ({ needed: accounts.setupCode !== undefined }),
  }),
  route({
    method: "post",
    path: "/api/v1/setup",
    role: "public",
    name: "create-first-admin",
    summary: "Make the first admin with the set-up code of the console; works once",
    status: 201,
    body: Type.Object(
      { code: Type.String({ maxLength: 40 }), name: nameSchema, password },
      { additionalProperties: false },
    ),
    response: sessionSchema,
    isAuditedByRoom: true,
    target: ({ body }) => body.name,
    handler: async ({ body, koa }, admin) =>
      setCookie(koa, await admin.accounts.setup({ ...body, from: peerOf(koa) }), admin),
  }),
  route({
    method: "post",
    path: "/api/v1/sessions",
    role: "public",
    name: "sign-in",
    summary: "Sign in; sets the cookie and answers with a bearer token",
    status: 201,
    body: Type.Object(
      { name: Type.String({ maxLength: 100 }), password },
      { additionalProperties: false },
    ),
    response: sessionSchema,
    isAuditedByRoom: true,
    target: ({ body }) => body.name,
    handler: async ({ body, koa }, admin) =>
      setCookie(koa, await admin.accounts.signIn({ ...body, from: peerOf(koa) }), admin),
  }),
  route({
    method: "get",
    path: "/api/v1/sessions/current",
    role: "viewer",
    name: "get-session",
    summary: "Who I am",
    response: Type.Object({ name: Type.String(), role: Type.String() }),
    handler: ({ principal }) => {
      if (!principal) throw new UnauthorisedError("sign in first");
      return { name: principal.name, role: principal.role };
    },
  }),
  route({
    method: "delete",
    path: "/api/v1/sessions/current",
    role: "viewer",
    name: "sign-out",
    summary: "Forget this session's token",
    status: 204,
    target: ({ who }) => who,
    handler: ({ principal, koa }, { accounts }) => {
      if (principal) accounts.signOut(principal.tokenHash);
      koa.cookies.set(sessionCookie, null);
    },
  }),
];
