/**
 * HTTPS for agents on one subnet's address: enrolment, renewal, check-in,
 * assignments, reports (protocol/agent.ts). TLS 1.3 only.
 *
 * Whoever connects may enrol, and nothing else. Every other route demands a
 * certificate of the site's authority that counts for its node (credentials.ts);
 * that node is the only one the request can reach. One that is held back may
 * check in, so that it is seen, and gets no work.
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
import { type Ipv4Address, type MacAddress, milliseconds, type TaskId } from "#protocol/brand.ts";
import type { LoadAnswer } from "#protocol/load.ts";
import type { Node } from "#protocol/node.ts";
import { createTokenBuckets } from "#protocol/token-bucket.ts";
import type { Uploads } from "../../images/uploads.ts";
import { createAudit } from "../audit/audit.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Site } from "../enrol/authority.ts";
import type { Windows } from "../enrol/token.ts";
import { ForbiddenError, TooManyRequestsError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import { readJson, readOctets } from "../http/body.ts";
import { checkInput } from "../http/check.ts";
import { problems } from "../http/problem.ts";
import type { Jobs } from "../job/jobs.ts";
import type { Log } from "../log.ts";
import { listenOn } from "../net/listen.ts";
import type { Nodes } from "../node/nodes.ts";
import type { Watching } from "../node/watching.ts";
import type { Store } from "../store/store.ts";
import { addressOf, type Credentials, createCredentials } from "./credentials.ts";
import { createDoubles } from "./doubles.ts";
import { createEnrolment } from "./enrolment.ts";
import { isGuest } from "./guest.ts";
import { type HeartbeatMetrics, type Heartbeats, startHeartbeats } from "./heartbeat.ts";
import {
  type AgentParams,
  type AssignmentQuery,
  agentParamsSchema,
  assignmentQuerySchema,
  type CaptureEndBody,
  type CaptureQuery,
  type CheckInBody,
  captureEndSchema,
  captureQuerySchema,
  checkInSchema,
  cleaned,
  type EnrolBody,
  enrolSchema,
  type LoadBody,
  loadSchema,
  type RenewBody,
  type ReportBody,
  renewSchema,
  reportSchema,
  type SwitchPortsBody,
  switchPortsSchema,
} from "./schemas.ts";
import type { SelfUpdates } from "./self-update.ts";

/** Seconds between two check-ins of an agent; three missed ones make a node offline. */
const checkInSeconds = 15;
/** A stranger's request, and a node's: a report may carry 500 lines of log. */
const maxStrangerOctets = 64 * 1024;
const maxNodeOctets = 1024 * 1024;
/** Ten thousand nodes with one connection each, and what firmware and admins need besides. */
const maxConnections = 16_384;
const headersTimeout = milliseconds(10_000);
const requestTimeout = milliseconds(60_000);
/** A node at work speaks every few seconds, one without heartbeats polls; one that rests hangs up by itself. */
const keepAliveTimeout = milliseconds(20_000);
/** A node that is called resumes its TLS session, at half the price of a handshake; seconds. */
const sessionTimeout = 86_400;
/** Long polls get this long to say 204 when the server closes. */
const closeGrace = milliseconds(1000);

export interface AgentListenerContext {
  readonly config: Pick<Config, "agentPort" | "certificateDays">;
  readonly address: Ipv4Address;
  /** Only what comes in there is heard; absent: whatever reaches the address. */
  readonly interfaceName?: string;
  readonly site: Site;
  readonly nodes: Pick<
    Nodes,
    | "get"
    | "byMac"
    | "heard"
    | "enrolled"
    | "checkIn"
    | "quarantine"
    | "update"
    | "silence"
    | "heartbeat"
  >;
  readonly jobs: Pick<
    Jobs,
    "report" | "checkAttempt" | "waitForAssignment" | "assignmentNameFor" | "onAssignment"
  >;
  readonly uploads: Pick<Uploads, "write" | "finish">;
  readonly selfUpdates: SelfUpdates;
  readonly watching: Watching;
  readonly windows: Pick<Windows, "check" | "burn" | "isTokenOf">;
  readonly store: Pick<Store, "transaction" | "tasks" | "reservations" | "audit">;
  /** Whose address it is, where that is known. */
  readonly leases?: { macOf(address: Ipv4Address): MacAddress | undefined };
  readonly events: Pick<EventBus, "publish" | "on">;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics?: HeartbeatMetrics;
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
  application.use(problems(clock, (error) => log.error({ err: error }, "agent request failed")));
  const credentials = createCredentials(context);
  const heartbeats = await startHeartbeats(context);
  application.use(agentRouter(context, credentials, heartbeats, closing.signal).routes());

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
      sessionTimeout,
    },
    application.callback(),
  );
  server.maxConnections = maxConnections;
  server.on("tlsClientError", (error, socket) =>
    log.debug({ from: socket.remoteAddress, reason: error.message }, "TLS handshake refused"),
  );
  const where = { interface: interfaceName, address, port: config.agentPort };
  const port = await listenOn(server, where, log).catch(async (error: unknown) => {
    await heartbeats.close();
    throw error;
  });
  log.info({ address, port }, "agent listener started");

  return {
    port,
    async close() {
      closing.abort();
      credentials.close();
      await heartbeats.close();
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

/** Exported for the test that tries every route with every credential. */
export function agentRouter(
  context: AgentListenerContext,
  credentials: Credentials,
  heartbeats: Pick<Heartbeats, "offer">,
  closing: AbortSignal,
): Router {
  const { nodes, jobs, store, site, clock, watching } = context;
  const enrol = createEnrolment(context);
  const nodeOf = (ctx: Context) => credentials.nodeOf(ctx.req.socket as TLSSocket);
  const mayWorkOf = (ctx: Context) => {
    const node = nodeOf(ctx);
    if (node.quarantined) throw new ForbiddenError(`node ${node.name} is held back`);
    return node;
  };
  const holdDoubles = doublesWatch(context);
  // A node enrols once per boot; a retry comes after seconds.
  const enrolments = createTokenBuckets({ burst: 10, perSecond: 0.5, sources: 1024 });
  const router = new Router({ prefix: "/agent/v1" });

  router.post("/enrol", async (ctx) => {
    const from = addressOf(ctx.req.socket);
    if (!enrolments.take(from, clock.monotonic())) {
      throw new TooManyRequestsError(`too many enrolments from ${from}`);
    }
    const body = (await jsonOf(ctx, enrolSchema, maxStrangerOctets)) as EnrolBody;
    ctx.body = await enrol({ ...body, hardware: cleaned(body.hardware) }, from);
  });

  router.post("/check-in", async (ctx) => {
    const { id } = nodeOf(ctx);
    const body = (await jsonOf(ctx, checkInSchema, maxNodeOctets)) as CheckInBody;
    const from = addressOf(ctx.req.socket);
    const node = holdDoubles(nodes.checkIn(id, cleaned(body), from), body.bootId, from);
    const update = context.selfUpdates.offer(node);
    ctx.body = {
      nodeId: node.id,
      name: node.name,
      checkInSeconds,
      now: clock.now(),
      heartbeat: heartbeats.offer(node),
      ...(update && { update }),
      ...(isGuest(node, store) && { leave: true }),
      ...(watching.isMissed(id) && { isWatched: true }),
      ...(credentials.isRenewalDue(node) && { renew: true }),
    } satisfies CheckInAnswer;
  });

  router.post("/renew", async (ctx) => {
    const node = nodeOf(ctx);
    const body = (await jsonOf(ctx, renewSchema, maxNodeOctets)) as RenewBody;
    ctx.body = await credentials.renew(node, body);
  });

  router.get("/assignment", async (ctx) => {
    const { id, quarantined } = nodeOf(ctx);
    const query = checkInput(assignmentQuerySchema, { ...ctx.query }, "query", true);
    const { wait, known } = query as AssignmentQuery;
    const gone = new AbortController();
    ctx.res.once("close", () => gone.abort());
    const signal = AbortSignal.any([closing, gone.signal]);
    const waitTime = milliseconds(wait * 1000);
    const assignment = quarantined
      ? await clock.sleep(waitTime, signal)
      : await jobs.waitForAssignment(id, known, waitTime, signal);
    if (!assignment || !mayWork(nodes.get(id))) {
      ctx.status = 204;
      return;
    }
    const text = JSON.stringify(assignment);
    ctx.body = {
      assignment: text,
      signature: site.sign(assignmentText(text)),
    } satisfies SignedAssignment;
  });

  router.post("/load", async (ctx) => {
    const { id } = nodeOf(ctx);
    watching.tell(id, (await jsonOf(ctx, loadSchema, maxStrangerOctets)) as LoadBody);
    ctx.body = { isWatched: watching.isWatched(id) } satisfies LoadAnswer;
  });

  router.post("/switch-ports", async (ctx) => {
    const { id, agent, switchPorts: before } = nodeOf(ctx);
    const body = (await jsonOf(ctx, switchPortsSchema, maxStrangerOctets)) as SwitchPortsBody;
    const bootId = agent?.bootId ?? "";
    const at = before?.bootId === bootId ? before.at : clock.now();
    nodes.update(id, { switchPorts: { heard: cleaned(body.heard), at, bootId } });
    ctx.status = 204;
  });

  router.get("/agent/:digest", async (ctx) => {
    const node = mayWorkOf(ctx);
    const { digest } = checkInput(agentParamsSchema, ctx["params"], "params", false) as AgentParams;
    const { sizeBytes, octets } = context.selfUpdates.open(node, digest);
    ctx.type = "application/octet-stream";
    ctx.length = sizeBytes;
    ctx.body = octets;
  });

  router.post("/capture", async (ctx) => {
    const { id } = mayWorkOf(ctx);
    const query = checkInput(captureQuerySchema, { ...ctx.query }, "query", true);
    const { task, epoch, boot, at } = query as CaptureQuery;
    const key = { taskId: task as TaskId, epoch };
    const bytes = await readOctets(ctx.req, clock, maxNodeOctets);
    jobs.checkAttempt(id, { ...key, bootId: boot });
    await context.uploads.write(key, at, bytes);
    ctx.status = 204;
  });

  router.post("/capture/end", async (ctx) => {
    const { id } = mayWorkOf(ctx);
    const body = (await jsonOf(ctx, captureEndSchema, maxStrangerOctets)) as CaptureEndBody;
    const { octets, digest, ...attempt } = { ...body, taskId: body.taskId as TaskId };
    jobs.checkAttempt(id, attempt);
    await context.uploads.finish(attempt, octets, digest);
    ctx.status = 204;
  });

  router.post("/report", async (ctx) => {
    const { id, quarantined } = nodeOf(ctx);
    const body = (await jsonOf(ctx, reportSchema, maxNodeOctets)) as ReportBody;
    const report: Report = cleaned({ ...body, taskId: body.taskId as TaskId });
    const task = store.tasks.get(report.taskId);
    if (task && task.nodeId !== id) {
      throw new ForbiddenError(`task ${report.taskId} is another node's`);
    }
    // One that is held back stops at the next safe point; its attempt ends for its silence.
    ctx.body = quarantined ? { cancelled: true } : jobs.report(id, report);
  });

  const jsonOf = async (ctx: Context, schema: Parameters<typeof checkInput>[0], limit: number) =>
    checkInput(schema, await readJson(ctx.req, clock, limit), "body", false);

  return router;
}

/** While it waited, an admin may have revoked it, or something held it back. */
function mayWork(node: Node | undefined): boolean {
  return node?.certificate !== undefined && !node.quarantined;
}

/** Holds a node back whose check-ins come from two boots at a time. */
function doublesWatch(context: AgentListenerContext) {
  const { nodes, events, log } = context;
  const audit = createAudit(context);
  const doubles = createDoubles();
  return (node: Node, bootId: string, from: Ipv4Address): Node => {
    if (!doubles.sees(node.id, bootId) || node.quarantined) return node;
    const reason =
      "two machines check in with its certificate: one of their disks is a copy; switch one off, then approve";
    audit.append("server", "node held back", node.id, reason);
    events.publish({
      topic: "alarm",
      text: `${node.name} (${node.mac}, now from ${from}): ${reason}`,
    });
    log.warn({ node: node.id, from, bootId }, "two machines with one identity");
    return nodes.quarantine(node.id, reason);
  };
}
