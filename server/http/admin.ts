/**
 * The admin listener: API and page, on adminAddress:adminPort and on
 * `<stateDirectory>/admin.sock` (0600). Nodes never talk to it.
 */

import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { dirname, join } from "node:path";
import { Router } from "@koa/router";
import Koa, { type Context } from "koa";
import { createAudit, refusalOf } from "../audit/audit.ts";
import {
  ForbiddenError,
  NotFoundError,
  TooManyRequestsError,
  UnauthorisedError,
} from "../errors.ts";
import { createAccounts, type Principal, peerOf, sessionCookie } from "./auth.ts";
import { readJson, readText } from "./body.ts";
import { checkInput } from "./check.ts";
import { createEventLog } from "./event-log.ts";
import { guard } from "./guard.ts";
import { createIdempotency } from "./idempotency.ts";
import { openApiOf } from "./openapi.ts";
import { page } from "./page.ts";
import { problems } from "./problem.ts";
import { mayCall, type Route, type RouteRequest } from "./route.ts";
import { uploadsDirectory } from "./routes/images.ts";
import { apiRoutes } from "./routes.ts";
import type { Admin, Services } from "./services.ts";
import { endStreams } from "./streams.ts";
import { createUsers } from "./users.ts";

const headersTimeoutMs = 10_000; // slow loris; bodies have their own watch (body.ts)
const maxConnections = 512;
const pageDirectory = join(import.meta.dirname, "..", "..", "web", "dist");

export interface RunningAdmin {
  /** Shown on the console while no user exists; makes the first admin. */
  readonly setupCode?: string;
  /** Port in use: the configured one, or the one the system chose for 0. */
  readonly port: number;
  close(): Promise<void>;
}

/** @throws what `listen` throws when the port is taken. */
export async function startAdmin(services: Services): Promise<RunningAdmin> {
  const { config, log, store, clock, events } = services;
  const admin: Admin = {
    ...services,
    accounts: createAccounts({ store, clock }),
    users: createUsers({ store, clock }),
    eventLog: createEventLog({ store, events, clock, log }),
    idempotency: createIdempotency(clock),
  };
  const handle = createApp(admin).callback();
  const tcp = newServer(handle);
  const local = newServer(handle);
  const socketPath = join(config.stateDirectory, "admin.sock");
  mkdirSync(config.stateDirectory, { recursive: true, mode: 0o700 });
  rmSync(uploadsDirectory(config), { recursive: true, force: true }); // of a server that was killed

  const close = async (): Promise<void> => {
    admin.eventLog.close(); // first: it writes its last events to the streams
    endStreams(store);
    await Promise.all([stop(tcp), stop(local)]);
    rmSync(socketPath, { force: true });
  };
  try {
    await listen(tcp, { host: config.adminAddress, port: config.adminPort });
    await listenPrivately(local, socketPath);
  } catch (error) {
    await close();
    throw error;
  }
  const address = tcp.address();
  const { setupCode } = admin.accounts;
  return {
    port: typeof address === "object" && address ? address.port : config.adminPort,
    ...(setupCode !== undefined && { setupCode }),
    close,
  };
}

function createApp(admin: Admin): Koa {
  const app = new Koa();
  app.silent = true;
  app.on("error", (error) => admin.log.debug({ err: error }, "admin connection failed"));
  app.use(
    problems(admin.clock, (error) => admin.log.error({ err: error }, "admin request failed")),
  );
  app.use(guard(admin.config.adminAddress));
  app.use(page(pageDirectory));
  const router = new Router();
  for (const route of apiRoutes) {
    router[route.method](route.path, (context) => call(route, context, admin));
  }
  const openApi = JSON.stringify(openApiOf(apiRoutes));
  router.get("/api/openapi.json", (context) => {
    const principal = principalOf(context, admin);
    if (!principal) throw new UnauthorisedError("sign in first");
    context.type = "application/json";
    context.body = openApi;
  });
  app.use(router.routes());
  app.use((context) => {
    // Whoever has no credential does not learn which names exist.
    if (!principalOf(context, admin)) throw new UnauthorisedError("sign in first");
    throw new NotFoundError(`no ${context.method} ${context.path}`);
  });
  return app;
}

/** Credential, role, input, handler, audit: in this order for every row. */
async function call(route: Route, koa: Context, admin: Admin): Promise<void> {
  const principal = principalOf(koa, admin);
  if (route.role !== "public" && !principal) throw new UnauthorisedError("sign in first");
  if (!mayCall(principal?.role ?? "public", route)) {
    const error = new ForbiddenError(`${route.name} needs role ${route.role}`);
    if (principal && route.method !== "get") {
      createAudit(admin).append(principal.name, route.name, koa.path, refusalOf(error));
    }
    throw error;
  }
  const who = principal?.name ?? "anonymous";
  const parameters = (koa as { params?: unknown }).params ?? {};
  const request = {
    params: checkInput(route.params, parameters, "params", true),
    query: checkInput(route.query, { ...koa.query }, "query", true),
    body: await bodyOf(route, koa, admin),
    who,
    principal,
    koa,
  } as RouteRequest<never, never, never>; // checked just above against the row's own schemas
  koa.status = route.status ?? 200;
  try {
    const answer = await route.handler(request, admin);
    audit(route, request, admin);
    if (koa.respond === false) return;
    // An assigned body of `undefined` would turn the status into 204.
    if (answer !== undefined || koa.status === 204) koa.body = answer ?? null;
  } catch (error) {
    // A flood of guesses must not fill the journal.
    if (!(error instanceof TooManyRequestsError)) audit(route, request, admin, error);
    throw error;
  }
}

function principalOf(koa: Context, { accounts }: Admin): Principal | undefined {
  const bearer = /^Bearer ([A-Za-z0-9_-]{1,200})$/.exec(koa.get("Authorization"))?.[1];
  if (bearer !== undefined) return accounts.principalOf(bearer, "bearer");
  const cookie = koa.cookies.get(sessionCookie);
  return cookie === undefined ? undefined : accounts.principalOf(cookie, "cookie");
}

async function bodyOf(route: Route, koa: Context, { clock }: Admin): Promise<unknown> {
  if (route.bodyKind === "stream") return undefined;
  if (route.bodyKind === "text") return readText(koa.req, clock);
  if (!route.body) return undefined;
  return checkInput(route.body, await readJson(koa.req, clock), "body", false);
}

/** Every change and every refused try; reading is not recorded. */
function audit(
  route: Route,
  request: RouteRequest<never, never, never>,
  admin: Admin,
  error?: unknown,
): void {
  if (route.method === "get" || (route.isAuditedByRoom === true && error === undefined)) return;
  const { who, principal, koa } = request;
  const from = principal ? "" : ` (from ${peerOf(koa)})`;
  createAudit(admin).append(
    who,
    route.name,
    route.target?.(request, admin) ?? koa.path,
    error === undefined ? undefined : `${refusalOf(error)}${from}`,
  );
}

function newServer(handle: ReturnType<Koa["callback"]>): Server {
  const server = createServer(
    { headersTimeout: headersTimeoutMs, requestTimeout: 0, keepAliveTimeout: 15_000 },
    (request, response) => void handle(request, response),
  );
  server.maxConnections = maxConnections;
  return server;
}

function listen(server: Server, where: { host: string; port: number } | { path: string }) {
  return new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/**
 * Bound in a directory nobody else may enter, then moved to its place: there is
 * no moment at which others could connect.
 */
async function listenPrivately(server: Server, path: string): Promise<void> {
  const nursery = mkdtempSync(join(dirname(path), ".s-")); // mode 0700
  try {
    const born = join(nursery, "s");
    await listen(server, { path: born });
    chmodSync(born, 0o600);
    renameSync(born, path);
  } finally {
    rmSync(nursery, { recursive: true, force: true });
  }
}

/** Transfers in progress end; a page that keeps a connection open does not hold us up. */
function stop(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
