import { once } from "node:events";
import { connect } from "node:tls";
import test from "ava";
import {
  type Assignment,
  assignmentText,
  type EnrolAnswer,
  enrolText,
  type SignedAssignment,
} from "#protocol/agent.ts";
import type { Instant, JobId, NodeId, TaskId } from "#protocol/brand.ts";
import type { Job, Task } from "#protocol/job.ts";
import { pinKey } from "../../netinst/trust.ts";
import { openSite } from "../../server/enrol/authority.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { checkInBody, enrolBody, macA, startServer } from "./agent-peer.ts";

const jobId = "job_1" as JobId;

function taskOf(nodeId: NodeId): Task {
  return {
    id: `task_${nodeId}` as TaskId,
    jobId,
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
  id: jobId,
  kind: "reboot",
  parameters: { warnSeconds: 0 },
  state: "running",
  selector: "all",
  createdBy: "test",
  createdAt: 1 as Instant,
};
const report = (nodeId: NodeId) => ({
  taskId: taskOf(nodeId).id,
  epoch: 1,
  bootId: checkInBody.bootId,
  status: "running",
  stage: "requested",
  percent: 50,
  log: ["a line\u0007 with a bell"],
});

test("a node with its token is enrolled, and the answer is signed over its nonce", async (t) => {
  const { call, windows, knownNode, site, nodes, heard } = await startServer(t);
  const { id } = knownNode(macA);
  windows.open(macA, "power-on");
  const body = enrolBody(macA, windows.tokenFor(macA));
  const { status, body: answered } = await call("/enrol", { body });
  const answer = answered as EnrolAnswer;
  t.is(status, 200);
  t.is(answer.nodeId, id);
  t.is(answer.nonce, body.nonce);
  t.true(pinKey(site.serverKey).covers(enrolText(answer), answer.signature));
  t.is(nodes.get(id)?.state, "enrolled");
  t.is(nodes.get(id)?.hardware?.model, "QEMU [31m PC");
  t.true(heard.some((event) => event.topic === "enrolment" && event.outcome === "accepted"));
});

test("an enrolled node checks in by its certificate", async (t) => {
  const { call, enrolled, nodes, clock } = await startServer(t);
  const { node, credential } = await enrolled(macA);
  const { status, body } = await call("/check-in", { credential, body: checkInBody });
  t.is(status, 200);
  const now = clock.now();
  t.like(body, { nodeId: node.id, name: node.name, checkInSeconds: 15, now });
  t.is(nodes.get(node.id)?.connection, "online");
});

test("a node reports on its own task; control characters do not get through", async (t) => {
  const { call, enrolled, store, reports } = await startServer(t);
  const { node, credential } = await enrolled(macA);
  store.jobs.put(job);
  store.tasks.put(taskOf(node.id));
  const answer = await call("/report", { credential, body: report(node.id) });
  t.deepEqual(answer.body, { cancelled: false });
  t.deepEqual(reports[0]?.log, ["a line  with a bell"]);
});

test("an assignment is signed by the pinned key", async (t) => {
  const { call, enrolled, orders, site, polls } = await startServer(t);
  const { node, credential } = await enrolled(macA);
  const assignment: Assignment = {
    nodeId: node.id,
    taskId: taskOf(node.id).id,
    epoch: 2,
    action: "reboot",
    warnSeconds: 0,
  };
  orders.set(node.id, assignment);
  const known = "task_1:1:install";
  const answer = await call(`/assignment?wait=5&known=${known}`, { credential });
  const signed = answer.body as SignedAssignment;
  t.deepEqual(JSON.parse(signed.assignment), assignment);
  t.true(pinKey(site.serverKey).covers(assignmentText(signed.assignment), signed.signature));
  t.is(polls[0]?.known, known);
});

test("no assignment is an empty answer", async (t) => {
  const { call, enrolled } = await startServer(t);
  const { credential } = await enrolled(macA);
  const answer = await call("/assignment?wait=0", { credential });
  t.is(answer.status, 204);
});

test("a long poll ends when its agent is gone, and when the server closes", async (t) => {
  const { call, enrolled, jobs, listener } = await startServer(t);
  const { credential } = await enrolled(macA);
  const waiting: AbortSignal[] = [];
  const started = Promise.withResolvers<void>();
  Object.assign(jobs, {
    waitForAssignment: async (
      _node: NodeId,
      _known: unknown,
      _wait: number,
      signal: AbortSignal,
    ) => {
      waiting.push(signal);
      started.resolve();
      await once(signal, "abort");
    },
  });
  const gone = new AbortController();
  const poll = t.throwsAsync(call("/assignment?wait=30", { credential, signal: gone.signal }));
  await started.promise;
  gone.abort();
  await poll;
  const [signal] = waiting;
  if (signal && !signal.aborted) await once(signal, "abort");
  t.true(signal?.aborted);
  await listener.close();
});

for (const [title, path, body] of [
  ["text that is not JSON", "/enrol", "{"],
  ["a member too many", "/enrol", { ...enrolBody(macA, undefined), admin: true }],
  ["a name that is no hardware address", "/enrol", enrolBody("dc:a6", undefined)],
  ["a nonce that is too short", "/enrol", { ...enrolBody(macA, undefined), nonce: "00" }],
  ["another kind of key", "/enrol", { ...enrolBody(macA, "0".repeat(32)), publicKey: "hello" }],
  ["more than 64 KiB", "/enrol", { ...enrolBody(macA, undefined), publicKey: "x".repeat(70_000) }],
] as const) {
  test(`an enrolment with ${title} is invalid input`, async (t) => {
    const { call, knownNode } = await startServer(t);
    knownNode(macA);
    const answer = await call(path, { body });
    t.is(answer.status, 400, JSON.stringify(answer.body));
    t.is((answer.body as { type: string }).type, "/problems/invalid-input");
  });
}

test("C35: TLS 1.2 is refused", async (t) => {
  const { call } = await startServer(t);
  await t.throwsAsync(call("/assignment", { tls: { maxVersion: "TLSv1.2" } }));
});

test("an agent of another site refuses this listener", async (t) => {
  const { listener } = await startServer(t);
  const stranger = await openSite(temporaryDirectory(t));
  await t.throwsAsync(fetchWith(stranger.authorityPem, listener.port), {
    code: "SELF_SIGNED_CERT_IN_CHAIN",
  });
});

async function fetchWith(ca: string, port: number): Promise<void> {
  const socket = connect({ host: "127.0.0.1", port, ca });
  try {
    await once(socket, "secureConnect");
  } finally {
    socket.destroy();
  }
}
