/** What was done leaves a row with who, what and target; what was refused one that says so. */

import test from "ava";
import { stringify } from "yaml";
import { type Instant, parseIpv4Address } from "#protocol/brand.ts";
import { digest, password, rack, startTestServer, type TestServer, tokens } from "./support.ts";

interface Deed {
  readonly title: string;
  readonly method: string;
  readonly path: string;
  readonly body?: string | Uint8Array<ArrayBuffer>;
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** who, what, target, and the detail where there is one */
  readonly row: readonly [who: string, what: string, target: string, detail?: string];
}

const json = (value: unknown) => JSON.stringify(value);
const cancelled = "/api/v1/learnings/current";
const operator = { token: tokens.operator };

const deeds: readonly Deed[] = [
  {
    title: "an image that is added",
    method: "POST",
    path: "/api/v1/images?name=debian&architecture=amd64",
    body: new Uint8Array([1]),
    row: ["admin", "add-image", "debian", digest],
  },
  {
    title: "an image that is added with progress",
    method: "POST",
    path: "/api/v1/images?name=debian&architecture=amd64",
    body: new Uint8Array([1]),
    headers: { Accept: "application/x-ndjson" },
    row: ["admin", "add-image", "debian", digest],
  },
  {
    title: "an image that is not taken",
    method: "POST",
    path: "/api/v1/images?name=debian&architecture=amd64",
    body: new Uint8Array(),
    headers: { Accept: "application/x-ndjson" },
    row: ["admin", "add-image", "debian", "refused: the body is empty"],
  },
  {
    title: "an image that is deleted",
    method: "DELETE",
    path: `/api/v1/images/${digest}`,
    row: ["admin", "delete-image", digest],
  },
  {
    title: "a rack that is put",
    method: "PUT",
    path: "/api/v1/racks/lab",
    body: stringify(rack),
    row: ["admin", "put-rack", "lab"],
  },
  {
    title: "a rack that is deleted",
    method: "DELETE",
    path: "/api/v1/racks/lab",
    row: ["admin", "delete-rack", "lab"],
  },
  {
    title: "a rack that is not there",
    method: "DELETE",
    path: "/api/v1/racks/other",
    row: ["admin", "delete-rack", "other", "refused: no rack other"],
  },
  {
    title: "a node that is approved",
    method: "POST",
    path: "/api/v1/nodes/lab-a-1/approve",
    row: ["admin", "approve-node", "lab-a-1"],
  },
  {
    title: "a role that does not suffice",
    method: "POST",
    path: "/api/v1/nodes/lab-a-1/approve",
    token: tokens.viewer,
    row: [
      "viewer",
      "approve-node",
      "/api/v1/nodes/lab-a-1/approve",
      "refused: approve-node needs role admin",
    ],
  },
  {
    title: "a learning that starts",
    method: "POST",
    path: "/api/v1/learnings",
    body: json({ rack: "lab" }),
    token: tokens.operator,
    row: ["operator", "start-learning", "lab"],
  },
  {
    title: "a learning that is cancelled",
    method: "DELETE",
    path: cancelled,
    token: tokens.operator,
    row: ["operator", "cancel-learning", cancelled],
  },
  {
    title: "a job that is refused",
    method: "POST",
    path: "/api/v1/jobs/job_9/cancel",
    token: tokens.operator,
    row: ["operator", "cancel-job", "job_9", 'refused: no job "job_9"'],
  },
  {
    title: "a sign-in",
    method: "POST",
    path: "/api/v1/sessions",
    body: json({ name: "admin", password }),
    token: "",
    row: ["admin", "sign-in", "admin", "from 127.0.0.1"],
  },
  {
    title: "a sign-in with a wrong password",
    method: "POST",
    path: "/api/v1/sessions",
    body: json({ name: "admin", password: "a wrong secret" }),
    token: "",
    row: ["anonymous", "sign-in", "admin", "refused: wrong name or password (from 127.0.0.1)"],
  },
];

function newest(server: TestServer) {
  const [entry] = server.store.audit.list({ limit: 1 });
  if (!entry) return undefined;
  const { who, what, target, detail } = entry;
  return detail === undefined ? [who, what, target] : [who, what, target, detail];
}

for (const { title, row, path, token, headers, ...request } of deeds) {
  test(`${title} is recorded`, async (t) => {
    const server = await startTestServer();
    t.teardown(() => server.close());
    const credential = token === "" ? {} : { token: token ?? tokens.admin };
    const answer = await server.fetch(path, {
      ...request,
      ...credential,
      ...(headers && { headers: { ...headers } }),
    });
    await answer.text(); // an upload with progress is decided at the end of its answer
    t.deepEqual(newest(server), [...row]);
    const told = JSON.stringify(server.store.audit.list({ limit: 100 }));
    t.false(told.includes(password) || told.includes("a wrong secret"));
  });
}

test("an approval reaches the node and its enrolment window", async (t) => {
  const server = await startTestServer();
  t.teardown(() => server.close());
  const path = "/api/v1/nodes/lab-a-1/approve";
  const answer = await server.fetch(path, { method: "POST", token: tokens.admin });
  const { mac, quarantined } = (await answer.json()) as { mac: string; quarantined: boolean };
  t.false(quarantined);
  t.deepEqual(server.calls, [`approve ${mac}`]);
});

const ask = (code: string, at: number) => ({
  code,
  address: parseIpv4Address("10.77.0.99"),
  at: at as Instant,
});
for (const [title, asks, query, status, call] of [
  ["the only key that asks is meant", ["4F2K-9QX1"], "", 200, "4F2K-9QX1"],
  ["of several keys none is guessed", ["4F2K-9QX1", "0000-AAAA"], "", 409, undefined],
  ["of several keys one is named", ["4F2K-9QX1", "0000-AAAA"], "?code=0000-aaaa", 200, "0000-AAAA"],
  ["a code of another form is refused", [], "?code=please", 400, undefined],
] as const) {
  test(`an approval: ${title}`, async (t) => {
    const server = await startTestServer();
    t.teardown(() => server.close());
    const node = server.store.nodes.byName("lab-a-1") ?? t.fail();
    const now = server.clock.now();
    server.store.nodes.put({ ...node, asks: asks.map((code) => ask(code, now)) });
    const path = `/api/v1/nodes/lab-a-1/approve${query}`;
    t.is((await server.fetch(path, { method: "POST", token: tokens.admin })).status, status);
    t.deepEqual(server.calls, call === undefined ? [] : [`approve ${node.mac} ${call}`]);
    if (status === 200) t.is(server.store.nodes.get(node.id)?.asks, undefined);
  });
}

test("a revoked node has no certificate and no work, is held back, and says who did it", async (t) => {
  const server = await startTestServer();
  t.teardown(() => server.close());
  const node = server.store.nodes.byName("lab-a-1") ?? t.fail();
  server.store.nodes.put({ ...node, certificate: "ab".repeat(32) });
  const job = { kind: "reboot", selector: "lab-a-1" };
  await server.fetch("/api/v1/jobs", { ...operator, method: "POST", body: json(job) });
  const [task] = server.store.tasks.unfinishedOf(node.id);
  const path = "/api/v1/nodes/lab-a-1/revoke";
  const answer = await server.fetch(path, { method: "POST", token: tokens.admin });
  t.is(answer.status, 200);
  const revoked = server.store.nodes.get(node.id);
  t.like(revoked, { quarantined: true, reason: "admin revoked its certificate" });
  t.is(revoked?.certificate, undefined);
  t.is(server.store.audit.list({ limit: 1 })[0]?.what, "revoke-node");
  t.is(server.calls.at(-1), `cancel ${task?.id} by admin`);
});

test("a retired node gives its address back", async (t) => {
  const server = await startTestServer();
  t.teardown(() => server.close());
  const retire = (name: string) =>
    server.fetch(`/api/v1/nodes/${name}/retire`, { method: "POST", token: tokens.admin });
  const { id, mac } = server.store.nodes.byName("lab-a-1") ?? t.fail();
  const answer = await retire("lab-a-1");
  t.is(answer.status, 200);
  t.is(server.store.nodes.get(id)?.state, "retired");
  t.deepEqual(server.calls, [`forget ${mac}`]);
});

test("the set-up of the first admin is recorded, and a wrong code for it", async (t) => {
  const server = await startTestServer({ users: false });
  t.teardown(() => server.close());
  const setUp = (code: string | undefined) =>
    server.fetch("/api/v1/setup", { method: "POST", body: json({ code, name: "ada", password }) });
  await setUp("WRONG");
  t.like(newest(server), { 0: "anonymous", 1: "create-first-admin", 2: "ada" });
  t.is((await setUp(server.setupCode)).status, 201);
  t.deepEqual(newest(server), ["ada", "create-first-admin", "ada", "from 127.0.0.1"]);
});

test("reading leaves no row", async (t) => {
  const server = await startTestServer();
  t.teardown(() => server.close());
  await server.fetch("/api/v1/nodes", { token: tokens.viewer });
  t.is(newest(server), undefined);
});
