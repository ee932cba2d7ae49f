/**
 * HTTPS for agents on one subnet's address: enrolment, check-in, assignments,
 * reports (protocol/agent.ts). TLS 1.3 only.
 *
 * Whoever connects may enrol, and nothing else. Every other route demands a
 * certificate of the site's authority that is the node's current one; the node
 * it names is the only one the request can reach.
 */

import { createServer } from "node:https";
import type { TLSSocket } from "node:tls";
import Router from "@koa/router";
import Koa, { type Context } from "koa";
import {
  assignmentText,
  type CheckInAnswer,
  type Report,
  type SignedAssignment,
} from "#protocol/agent.ts";
import {
  type Ipv4Address,
  milliseconds,
  type NodeId,
  parseIpv4Address,
  type TaskId,
} from "#protocol/brand.ts";
import type { Node } from "#protocol/node.ts";
import { createTokenBuckets } from "#protocol/token-bucket.ts";
import { createAudit } from "../audit/audit.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Site } from "../enrol/authority.ts";
import type { Windows } from "../enrol/token.ts";
import { ForbiddenError, TooManyRequestsError, UnauthorisedError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import { readJson } from "../http/body.ts";
import { checkInput } from "../http/check.ts";
import { problems } from "../http/problem.ts";
import type { Jobs } from "../job/jobs.ts";
import type { Log } from "../log.ts";
import { listenOn } from "../net/listen.ts";
import type { Nodes } from "../node/nodes.ts";
import type { Store } from "../store/store.ts";
import { createEnrolment } from "./enrolment.ts";
import {
  type AssignmentQuery,
  assignmentQuerySchema,
  type CheckInBody,
  checkInSchema,
  cleaned,
  type EnrolBody,
  enrolSchema,
  type ReportBody,
  reportSchema,
} from "./schemas.ts";

/** Seconds between two check-ins of an agent; three missed ones make a node offline. */
const checkInSeconds = 15;
/** A stranger's request, and a node's: a report may carry 500 lines of log. */
const maxStrangerOctets = 64 * 1024;
const maxNodeOctets = 1024 * 1024;
/** Ten thousand nodes with one connection each, and what firmware and admins need besides. */
const maxConnections = 16_384;
const headersTimeout = milliseconds(10_000);
const requestTimeout = milliseconds(60_000);
/** Longer than an agent's check-in period, so that one connection serves it all the time. */
const keepAliveTimeout = milliseconds(60_000);
/** Long polls get this long to say 204 when the server closes. */
const closeGrace = milliseconds(1000);

export interface AgentListenerContext {
  readonly config: Pick<Config, "agentPort">;
  readonly address: Ipv4Address;
  /** Only what comes in there is heard; absent: whatever reaches the address. */
  readonly interfaceName?: string;
  readonly site: Site;
  readonly nodes: Pick<Nodes, "get" | "byMac" | "heard" | "enrolled" | "checkIn" | "quarantine">;
  readonly jobs: Pick<Jobs, "report" | "waitForAssignment">;
  readonly windows: Pick<Windows, "check" | "burn" | "isTokenOf">;
  readonly store: Pick<Store, "transaction" | "tasks" | "reservations" | "audit">;
  readonly events: Pick<EventBus, "publish">;
  readonly clock: Clock;
  readonly log: Log;
}

export interface AgentListener {
  /** The port in use: the configured one, or the kernel's choice for 0. */
  readonly port: number;
  close(): Promise<void>;
}

export async function startAgentListener(context: AgentListenerContext): Promise<AgentListener> {
  const { config, address, interfaceName, site, clock, log } = context;
  const closing = new AbortController();
  const application = new Koa();
  application.silent = true; // koa would print to the console
  application.on("error", (error: unknown) => log.debug({ err: error }, "agent connection failed"));
  application.use(problems((error) => log.error({ err: error }, "agent request failed")));
  application.use(routesOf(context, closing.signal).routes());

  const server = createServer(
    {
      ...(await site.serverTls([address])),
      ca: site.authorityPem,
      minVersion: "TLSv1.3",
      requestCert: true,
      rejectUnauthorized: false, // an enrolling node has no certificate: each route asks
      handshakeTimeout: headersTimeout,
      headersTimeout,
      requestTimeout,
      keepAliveTimeout,
    },
    application.callback(),
  );
  server.maxConnections = maxConnections;
  server.on("tlsClientError", (error, socket) =>
    log.debug({ from: socket.remoteAddress, reason: error.message }, "TLS handshake refused"),
  );
  const where = { interface: interfaceName, address, port: config.agentPort };
  const port = await listenOn(server, where, log);
  log.info({ address, port }, "agent listener started");

  return {
    port,
    async close() {
      closing.abort();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const ended = new AbortController();
      const grace = clock.sleep(closeGrace, ended.signal).then(() => server.closeAllConnections());
      await closed;
      ended.abort();
      await grace;
    },
  };
}

function routesOf(context: AgentListenerContext, closing: AbortSignal): Router {
  const { nodes, jobs, store, site, clock } = context;
  const enrol = createEnrolment(context);
  const nodeOf = authenticator(context);
  // A node enrols once per boot; a retry comes after seconds.
  const enrolments = createTokenBuckets({ burst: 10, perSecond: 0.5, sources: 1024 });
  const router = new Router({ prefix: "/agent/v1" });

  router.post("/enrol", async (ctx) => {
    const from = addressOf(ctx);
    if (!enrolments.take(from, clock.monotonic())) {
      throw new TooManyRequestsError(`too many enrolments from ${from}`);
    }
    const body = (await jsonOf(ctx, enrolSchema, maxStrangerOctets)) as EnrolBody;
    ctx.body = await enrol({ ...body, hardware: cleaned(body.hardware) }, from);
  });

  router.post("/check-in", async (ctx) => {
    const { id } = nodeOf(ctx);
    const body = (await jsonOf(ctx, checkInSchema, maxNodeOctets)) as CheckInBody;
    const node = nodes.checkIn(id, cleaned(body), addressOf(ctx));
    ctx.body = { nodeId: node.id, name: node.name, checkInSeconds } satisfies CheckInAnswer;
  });

  router.get("/assignment", async (ctx) => {
    const { id } = nodeOf(ctx);
    const query = checkInput(assignmentQuerySchema, { ...ctx.query }, "query", true);
    const { wait, known } = query as AssignmentQuery;
    const gone = new AbortController();
    ctx.res.once("close", () => gone.abort());
    const signal = AbortSignal.any([closing, gone.signal]);
    const assignment = await jobs.waitForAssignment(id, known, milliseconds(wait * 1000), signal);
    if (!assignment) {
      ctx.status = 204;
      return;
    }
    const text = JSON.stringify(assignment);
    ctx.body = {
      assignment: text,
      signature: site.sign(assignmentText(text)),
    } satisfies SignedAssignment;
  });

  router.post("/report", async (ctx) => {
    const { id } = nodeOf(ctx);
    const body = (await jsonOf(ctx, reportSchema, maxNodeOctets)) as ReportBody;
    const report: Report = cleaned({ ...body, taskId: body.taskId as TaskId });
    const task = store.tasks.get(report.taskId);
    if (task && task.nodeId !== id) {
      throw new ForbiddenError(`task ${report.taskId} is another node's`);
    }
    ctx.body = jobs.report(id, report);
  });

  const jsonOf = async (ctx: Context, schema: Parameters<typeof checkInput>[0], limit: number) =>
    checkInput(schema, await readJson(ctx.req, clock, limit), "body", false);

  return router;
}

/** Who asks, proven by the connection's client certificate. */
function authenticator(context: AgentListenerContext): (ctx: Context) => Node {
  const { nodes, clock, log } = context;
  const audit = createAudit(context);
  // A refused certificate is worth a row, a thousand of them are not.
  const rows = createTokenBuckets({ burst: 3, perSecond: 1 / 60, sources: 256 });

  const refuse = (from: Ipv4Address, reason: string): ForbiddenError => {
    if (rows.take(from, clock.monotonic())) {
      audit.append("server", "agent certificate refused", from, reason);
      log.warn({ from, reason }, "agent certificate refused");
    }
    return new ForbiddenError(reason);
  };

  return (ctx) => {
    const socket = ctx.req.socket as TLSSocket;
    const certificate = socket.getPeerX509Certificate();
    if (!certificate) throw new UnauthorisedError("a client certificate is needed: enrol first");
    const from = addressOf(ctx);
    if (!socket.authorized) {
      throw refuse(from, `client certificate is not of this site: ${socket.authorizationError}`);
    }
    const id = certificate.subject.replace(/^CN=/, "") as NodeId;
    const node = nodes.get(id);
    if (!node) throw refuse(from, `client certificate names the unknown node ${id}`);
    const fingerprint = certificate.fingerprint256.replaceAll(":", "").toLowerCase();
    if (node.certificate === fingerprint) return node;
    throw refuse(from, `client certificate of ${id} was replaced by a newer enrolment`);
  };
}

function addressOf(ctx: Context): Ipv4Address {
  return parseIpv4Address(ctx.req.socket.remoteAddress ?? "");
}
