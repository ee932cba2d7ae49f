/**
 * A route as data. The tables in `routes/` are the API: the router, the checks
 * of input, the authorisation, `/api/openapi.json` and the audit are made from them.
 */

import type { Context } from "koa";
import type { Static, TObject, TSchema } from "typebox";
import type { Principal } from "./auth.ts";
import type { Admin } from "./services.ts";

export const roles = ["public", "viewer", "operator", "admin"] as const;
/** The least role that may call a route; each includes those before it. `public` needs no credential. */
export type Role = (typeof roles)[number];

/** What both allow; `undefined` allows everything. */
export function lesserRole<R extends Role>(one: R, other: R | undefined): R {
  return other !== undefined && roles.indexOf(other) < roles.indexOf(one) ? other : one;
}

export interface RouteRequest<Params, Query, Body> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  /** Name of the user; `anonymous` on a public route. */
  readonly who: string;
  readonly principal: Principal | undefined;
  /** For streams, headers and cookies. */
  readonly koa: Context;
}

export interface RouteDefinition<P extends TObject, Q extends TObject, B extends TSchema> {
  readonly method: "get" | "post" | "put" | "patch" | "delete";
  /** In the router's form: `/api/v1/nodes/:id`. */
  readonly path: string;
  readonly role: Role;
  /** Verb and noun, unique: `create-job`; the OpenAPI operation id and the audit's `what`. */
  readonly name: string;
  readonly summary: string;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  /** `json` where a body schema is given; `text` and `stream` leave the bytes to the handler. */
  readonly bodyKind?: "json" | "text" | "stream";
  readonly status?: number;
  readonly response?: TSchema;
  /** `text/event-stream` and others that are not JSON. */
  readonly responseType?: string;
  /** The room it calls writes the audit row itself; a refusal is still recorded here. */
  readonly isAuditedByRoom?: boolean;
  /** What the audit row names as target; default: the path. */
  readonly target?: (
    request: RouteRequest<Static<P>, Static<Q>, Static<B>>,
    admin: Admin,
  ) => string | undefined;
  readonly handler: (
    request: RouteRequest<Static<P>, Static<Q>, Static<B>>,
    admin: Admin,
  ) => unknown;
}

/** A row of a route table, its input types forgotten: the listener checks them before it calls. */
export type Route = Omit<
  RouteDefinition<TObject, TObject, TSchema>,
  "handler" | "target" | "params" | "query" | "body"
> & {
  readonly params?: TObject;
  readonly query?: TObject;
  readonly body?: TSchema;
  readonly target?: (
    request: RouteRequest<never, never, never>,
    admin: Admin,
  ) => string | undefined;
  readonly handler: (request: RouteRequest<never, never, never>, admin: Admin) => unknown;
};

/** Ties the handler's types to the schemas of its row. */
export function route<
  P extends TObject = TObject<Record<never, never>>,
  Q extends TObject = TObject<Record<never, never>>,
  B extends TSchema = TSchema,
>(definition: RouteDefinition<P, Q, B>): Route {
  return definition;
}

export function mayCall(role: Role, route: Pick<Route, "role">): boolean {
  return roles.indexOf(role) >= roles.indexOf(route.role);
}
