/**
 * C26, C27: every route of the agent listener with every credential there is, and node A's
 * credential with everything of node B that a request can name. A route without a row fails.
 */

import test, { type ExecutionContext } from "ava";
import type { Instant, JobId, NodeId, TaskId } from "#protocol/brand.ts";
import type { Job, Task } from "#protocol/job.ts";
import { agentRouter } from "../../server/agent/listener.ts";
import { openSite } from "../../server/enrol/authority.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import {
  type Answer,
  type Credential,
  checkInBody,
  enrolBody,
  loadBody,
  macA,
  macB,
  newKey,
  startServer,
} from "./agent-peer.ts";

type Server = Awaited<ReturnType<typeof startServer>>;

/** What the listener really serves: `POST /check-in`. */
const served = agentRouter({} as never, {} as never, {} as never, new AbortController().signal)
  .stack.map(({ methods, path }) => `${methods.at(-1)} ${String(path).replace("/agent/v1", "")}`)
  .toSorted();

interface Row {
  /** Whoever has no credential at all. */
  readonly stranger: number;
  /** The node itself. */
  readonly own: number;
  /** The node itself while it is held back. */
  readonly held: number;
  readonly path?: string | ((node: NodeId) => string);
  readonly body?: (node: NodeId) => unknown;
}

const report = (node: NodeId) => ({
  taskId: taskOf(node).id,
  epoch: 1,
  bootId: checkInBody.bootId,
  status: "running",
  stage: "requested",
  percent: 50,
});

const switchPortsBody = {
  heard: [{ protocol: "lldp", chassis: "02:00:00:00:00:01", port: "gi1/0/7", system: "sw1" }],
};

/** Statuses: 200 and 204 are let in. */
const table: Readonly<Record<string, Row>> = {
  // Without a right to: it has tests of its own.
  "POST /enrol": {
    stranger: 403,
    own: 403,
    held: 403,
    body: () => enrolBody(macB, "0".repeat(32)),
  },
  "POST /check-in": { stranger: 401, own: 200, held: 200, body: () => checkInBody },
  "GET /assignment": { stranger: 401, own: 200, held: 204, path: "/assignment?wait=0" },
  "POST /report": { stranger: 401, own: 200, held: 200, body: report },
  "POST /load": { stranger: 401, own: 200, held: 200, body: () => loadBody },
  "POST /switch-ports": { stranger: 401, own: 204, held: 204, body: () => switchPortsBody },
  "GET /agent/:digest": { stranger: 401, own: 403, held: 403, path: `/agent/${"0".repeat(64)}` },
  "POST /capture": {
    stranger: 401,
    own: 204,
    held: 403,
    path: (node) => `/capture?task=${taskOf(node).id}&epoch=1&boot=${checkInBody.bootId}&at=0`,
    body: () => "octets",
  },
  "POST /capture/end": {
    stranger: 401,
    own: 409, // nothing was sent
    held: 403,
    body: (node) => ({
      ...{ taskId: taskOf(node).id, epoch: 1, bootId: checkInBody.bootId },
      ...{ octets: 6, digest: "0".repeat(64) },
    }),
  },
  "POST /renew": {
    stranger: 401,
    own: 200,
    held: 403,
    body: () => ({ publicKey: newKey().publicPem, nonce: "0".repeat(32) }),
  },
};

test("every route has its row, and every row its route", (t) => {
  t.deepEqual(served, Object.keys(table).toSorted());
});

function taskOf(nodeId: NodeId): Task {
  return {
    id: `task_${nodeId}` as TaskId,
    jobId: "job_1" as JobId,
    nodeId,
    kind: "reboot",
    state: "running",
    epoch: 1,
    percent: 0,
    stageSeconds: {},
    createdAt: 1 as Instant,
  };
}
const job: Job = {
  id: "job_1" as JobId,
  kind: "reboot",
  parameters: { warnSeconds: 0 },
  state: "running",
  selector: "all",
  createdBy: "test",
  createdAt: 1 as Instant,
};

/** Nodes A and B, each with a running task and an order for it. */
async function twoNodes(t: ExecutionContext) {
  const server = await startServer(t);
  const a = await server.enrolled(macA);
  const b = await server.enrolled(macB);
  server.store.jobs.put(job);
  for (const { id } of [a.node, b.node]) {
    const { id: taskId, epoch } = taskOf(id);
    server.store.tasks.put(taskOf(id));
    server.orders.set(id, { nodeId: id, taskId, epoch, action: "reboot", warnSeconds: 0 });
  }
  return { server, a, b };
}

/** @param node - whose resources are named */
function ask(
  server: Server,
  route: string,
  node: NodeId,
  credential: Credential | undefined,
): Promise<Answer> {
  const { path, body } = table[route] ?? {};
  const given = typeof path === "function" ? path(node) : path;
  const name = given ?? route.replace(/^[A-Z]+ /, "");
  return server.call(name, { credential, ...(body && { body: body(node) }) });
}

async function ofSite(t: ExecutionContext, node: NodeId): Promise<Credential> {
  const pair = newKey();
  const site = await openSite(temporaryDirectory(t));
  return {
    key: pair.privatePem,
    cert: (await site.issueNodeCertificate(node, pair.publicPem)).pem,
  };
}

async function ofUnknownNode({ site }: Server): Promise<Credential> {
  const pair = newKey();
  const { pem } = await site.issueNodeCertificate("node_ghost" as NodeId, pair.publicPem);
  return { key: pair.privatePem, cert: pem };
}

type Nodes = Awaited<ReturnType<typeof twoNodes>>;

/** Credentials that count for nothing, and how one comes by them. */
const worthless: Readonly<
  Record<string, (t: ExecutionContext, nodes: Nodes) => Promise<Credential> | Credential>
> = {
  "of another site": (t, { a }) => ofSite(t, a.node.id),
  "of the server itself": ({ log: _ }, { server }) => server.site.serverTls([]),
  "of a node that does not exist": (_, { server }) => ofUnknownNode(server),
  "that a new enrolment replaced": async (_, { server, a }) => {
    await server.enrolled(macA);
    return a.credential;
  },
  "that was revoked": (_, { server, a }) => {
    server.nodes.revoke(a.node.id, "stolen");
    return a.credential;
  },
  "that was revoked, its node approved again": (_, { server, a }) => {
    server.nodes.revoke(a.node.id, "stolen");
    server.nodes.approve(a.node.id);
    return a.credential;
  },
  "of a node that was retired": (_, { server, a }) => {
    server.store.tasks.put({ ...taskOf(a.node.id), state: "done" });
    server.nodes.retire(a.node.id);
    return a.credential;
  },
  "that ended": (_, { server, a }) => {
    server.clock.advance(90 * 24 * 3600 * 1000);
    return a.credential;
  },
};

// One after the other: a hundred servers and their handshakes at once take a busy machine longer than a
// server waits for a handshake.
for (const [route, row] of Object.entries(table)) {
  test.serial(`${route} without a certificate: ${row.stranger}`, async (t) => {
    const { server, a } = await twoNodes(t);
    const answer = await ask(server, route, a.node.id, undefined);
    t.is(answer.status, row.stranger);
    t.is(answer.type, "application/problem+json");
  });

  test.serial(`${route} of the node itself: ${row.own}`, async (t) => {
    const { server, a } = await twoNodes(t);
    t.is((await ask(server, route, a.node.id, a.credential)).status, row.own);
  });

  test.serial(`${route} of a node that is held back: ${row.held}`, async (t) => {
    const { server, a } = await twoNodes(t);
    server.nodes.quarantine(a.node.id, "two computers with one MAC address");
    t.is((await ask(server, route, a.node.id, a.credential)).status, row.held);
    t.is(server.reports.length, 0);
  });

  for (const [title, made] of Object.entries(worthless)) {
    test.serial(`${route} with a certificate ${title}: 403, and nothing changes`, async (t) => {
      const nodes = await twoNodes(t);
      const { server, a, b } = nodes;
      const credential = await made(t, nodes);
      const before = JSON.stringify(server.nodes.list());
      const answer = await ask(server, route, a.node.id, credential);
      t.is(answer.status, 403, JSON.stringify(answer.body));
      t.falsy(server.nodes.get(b.node.id)?.quarantined);
      if (route === "POST /enrol") return; // the key that asks is noted
      t.is(JSON.stringify(server.nodes.list()), before);
      t.is(server.reports.length, 0);
      t.is(server.polls.length, 0);
    });
  }

  test.serial(
    `C27: ${route} of node A, about node B: nothing of B is told or changed`,
    async (t) => {
      const { server, a, b } = await twoNodes(t);
      const before = JSON.stringify(server.nodes.get(b.node.id));
      const answer = await ask(server, route, b.node.id, a.credential);
      t.false(JSON.stringify(answer.body).includes(b.node.id) && answer.status < 300);
      if (route === "POST /enrol") return; // refused, and the key that asks is noted
      t.is(JSON.stringify(server.nodes.get(b.node.id)), before);
      t.is(server.reports.length, 0);
    },
  );
}

test.serial("C27: a report on another node's task is refused", async (t) => {
  const { server, a, b } = await twoNodes(t);
  const answer = await server.call("/report", {
    credential: a.credential,
    body: report(b.node.id),
  });
  t.is(answer.status, 403);
  t.is((answer.body as { title: string }).title, `task ${taskOf(b.node.id).id} is another node's`);
});

test.serial("a refused certificate is noted, three times a minute at most", async (t) => {
  const { server, a } = await twoNodes(t);
  server.nodes.revoke(a.node.id, "stolen");
  for (let count = 0; count < 10; count++)
    await ask(server, "POST /check-in", a.node.id, a.credential);
  const rows = server.store.audit.list({ limit: 100 });
  t.is(rows.filter(({ what }) => what === "agent certificate refused").length, 3);
});
