import { request } from "node:http";
import { connect } from "node:net";
import test from "ava";
import type { NodeId } from "#protocol/brand.ts";
import type { StoredEvent } from "#protocol/events.ts";
import type { Problem } from "#protocol/problem.ts";
import { openApiOf } from "../../server/http/openapi.ts";
import { apiRoutes } from "../../server/http/routes.ts";
import { until } from "../support/until.ts";
import { makeNode, startTestServer, type TestServer, tokens } from "./support.ts";

const operator = { token: tokens.operator };
const post = (body: unknown, token: string = tokens.operator) => ({
  method: "POST",
  token,
  body: JSON.stringify(body),
});

async function problemOf(response: Response): Promise<Problem> {
  return (await response.json()) as Problem;
}

const problems = [
  [
    "a field that does not exist",
    "/api/v1/jobs",
    { kind: "reboot", selector: "all", colour: 1 },
    400,
    "invalid-input",
    "/colour",
  ],
  [
    "a kind that does not exist",
    "/api/v1/jobs",
    { kind: "explode", selector: "all" },
    400,
    "invalid-input",
    "/kind",
  ],
  [
    "a warning too long",
    "/api/v1/jobs",
    { kind: "reboot", selector: "all", parameters: { warnSeconds: 1e6 } },
    400,
    "invalid-input",
    "/parameters/warnSeconds",
  ],
  [
    "a selector that names nobody",
    "/api/v1/jobs",
    { kind: "reboot", selector: "zz" },
    400,
    "invalid-input",
    "/selector",
  ],
  [
    "an unknown image",
    "/api/v1/jobs",
    { kind: "install", selector: "all", parameters: { image: "zz" } },
    400,
    "invalid-input",
    "/parameters/image",
  ],
  ["what only an admin may", "/api/v1/nodes/node_a1/approve", {}, 403, "forbidden", undefined],
  ["a job that does not exist", "/api/v1/jobs/job_9/cancel", {}, 404, "not-found", undefined],
  ["a rack that does not exist", "/api/v1/learnings", { rack: "zz" }, 404, "not-found", undefined],
] as const;
for (const [title, path, body, status, code, pointer] of problems) {
  test(`${title} is answered with problem ${code}`, async (t) => {
    const server = await startTestServer();
    t.teardown(server.close);
    const response = await server.fetch(path, post(body));
    t.is(response.status, status);
    t.is(response.headers.get("Content-Type"), "application/problem+json");
    const problem = await problemOf(response);
    t.is(problem.type, `/problems/${code}`);
    t.is(problem.errors?.[0]?.pointer, pointer);
  });
}

test("a name that is taken is a conflict", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const response = await server.fetch("/api/v1/nodes/lab-a-1", {
    method: "PATCH",
    token: tokens.operator,
    body: JSON.stringify({ name: "lab-a-2" }),
  });
  t.is(response.status, 409);
});

test("a body that is no JSON, or longer than 1 MiB, is refused", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  for (const body of ["{", `"${"x".repeat(1024 * 1024)}"`]) {
    const response = await server.fetch("/api/v1/jobs", { method: "POST", ...operator, body });
    t.is(response.status, 400);
  }
});

for (const [what, path, credential] of [
  ["that is too long", "/api/v1/jobs", operator.token],
  ["of somebody unknown", "/api/v1/jobs", "mb_nobody"],
  ["of an image that is not taken", "/api/v1/images?name=n&architecture=mips", tokens.admin],
] as const) {
  test(`the sender of a body ${what} has its answer while it still sends, and is heard out`, async (t) => {
    const server = await startTestServer();
    t.teardown(server.close);
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname).setEncoding("latin1");
    t.teardown(() => socket.destroy());
    const failures: unknown[] = [];
    socket.on("error", (error) => failures.push(error));
    const send = (data: string | Buffer) => new Promise((resolve) => socket.write(data, resolve));
    const part = Buffer.alloc(1 << 20, 32);
    const head = [
      ...[`POST ${path} HTTP/1.1`, `Host: ${hostname}:${port}`, "Content-Type: application/json"],
      ...[`Authorization: Bearer ${credential}`, `Content-Length: ${10 * part.length}`],
    ];
    socket.write(`${head.join("\r\n")}\r\n\r\n`);
    for (let count = 0; count < 2; count++) await send(part);
    let answer = "";
    socket.on("data", (text) => {
      answer += String(text);
    });
    await until(() => answer.includes('"title":'));
    t.regex(answer, /^HTTP\/1\.1 4/);
    for (let count = 2; count < 10; count++) await send(part);
    socket.write(`GET /healthz HTTP/1.1\r\nHost: ${hostname}:${port}\r\n\r\n`);
    await until(() => /HTTP\/1\.1 200/.test(answer));
    t.deepEqual(failures, []);
  });
}

test("a job is answered with 202 and its place", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const response = await server.fetch(
    "/api/v1/jobs",
    post({ kind: "reboot", selector: "stack:lab/a" }),
  );
  t.is(response.status, 202);
  t.is(response.headers.get("Location"), "/api/v1/jobs/job_1");
  const job = (await (await server.fetch("/api/v1/jobs/job_1", operator)).json()) as {
    tasks: unknown[];
    createdBy: string;
  };
  t.is(job.tasks.length, 4);
  t.is(job.createdBy, "operator");
});

test("a dry run says what would be lost, and makes no job", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const body = {
    kind: "install",
    selector: "lab-a-1",
    parameters: { image: "debian-12" },
    dryRun: true,
  };
  const response = await server.fetch("/api/v1/jobs", post(body));
  t.is(response.status, 200);
  t.deepEqual(((await response.json()) as { nodes: unknown }).nodes, [
    { id: "node_a1", name: "lab-a-1", does: "install debian-12", loses: "everything on vda" },
  ]);
  t.deepEqual(server.calls, []);
});

test("nodes of two architectures need two install jobs", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  server.store.nodes.put({ ...makeNode("a", "1"), architecture: "arm64" });
  const body = { kind: "install", selector: "all", parameters: { image: "debian-12" } };
  t.is((await server.fetch("/api/v1/jobs", post(body))).status, 409);
});

test("a repeated idempotency key makes one job; with another body it is refused", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const headers = { "Idempotency-Key": "k1" };
  const send = (selector: string) =>
    server.fetch("/api/v1/jobs", { ...post({ kind: "reboot", selector }), headers });
  const first = await (await send("all")).json();
  t.deepEqual(await (await send("all")).json(), first);
  t.is((await send("lab-a-1")).status, 400);
  t.deepEqual(server.calls, ["create reboot 8"]);
});

test("a list of jobs is read page by page", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  for (let index = 0; index < 3; index++) {
    await server.fetch("/api/v1/jobs", post({ kind: "reboot", selector: "all" }));
    server.clock.move(1000);
  }
  const first = await server.fetch("/api/v1/jobs?limit=2", operator);
  const page = (await first.json()) as { items: { id: string }[]; next: string };
  t.deepEqual(
    page.items.map((job) => job.id),
    ["job_3", "job_2"],
  );
  t.regex(first.headers.get("Link") ?? "", /rel="next"/);
  const second = await server.fetch(`/api/v1/jobs?limit=2&after=${page.next}`, operator);
  t.deepEqual(
    ((await second.json()) as { items: { id: string }[] }).items.map((job) => job.id),
    ["job_1"],
  );
});

test("a rack is kept from its file, and only under its own name", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const body = "name: two\nstacks:\n  - name: a\n    slots: 2\n    outlet: { driver: manual }\n";
  const put = (name: string) =>
    server.fetch(`/api/v1/racks/${name}`, { method: "PUT", token: tokens.admin, body });
  t.is((await put("two")).status, 200);
  t.is((await put("three")).status, 400);
  t.is(server.store.racks.get("two")?.stacks[0]?.slots.length, 2);
});

test("an upload tells its progress line by line and leaves no file behind", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const response = await server.fetch("/api/v1/images?name=x&architecture=amd64", {
    method: "POST",
    token: tokens.admin,
    body: new Uint8Array(300_000),
    headers: { Accept: "application/x-ndjson" },
  });
  const lines = (await response.text())
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  t.deepEqual(
    lines.map((line) => Object.keys(line)[0]),
    ["percent", "percent", "image"],
  );
});

// Host is set by hand: fetch would not.
function statusFor(server: TestServer, host: string): Promise<number | undefined> {
  const { port } = new URL(server.url);
  return new Promise((resolve, reject) => {
    const sent = request({ host: "127.0.0.1", port, path: "/healthz", headers: { Host: host } });
    sent.on("response", (response) => resolve(response.resume().statusCode));
    sent.on("error", reject);
    sent.end();
  });
}

test("a name that is not this server's is refused (DNS rebinding)", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  t.is(await statusFor(server, "evil.example"), 403);
  t.is(await statusFor(server, "localhost:8000"), 200);
  t.is(await statusFor(server, "[::1]:8000"), 200);
});

test("no answer lets a foreign script run", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  for (const path of ["/", "/api/v1/nodes", "/healthz"]) {
    const { headers } = await server.fetch(path);
    t.regex(headers.get("Content-Security-Policy") ?? "", /^default-src 'self';/);
    t.is(headers.get("X-Content-Type-Options"), "nosniff");
  }
});

/** Reads until `count` events came, then hangs up. */
async function readEvents(server: TestServer, path: string, count: number, lastId?: number) {
  const ending = new AbortController();
  const response = await server.fetch(path, {
    token: tokens.viewer,
    signal: ending.signal,
    ...(lastId !== undefined && { headers: { "Last-Event-ID": String(lastId) } }),
  });
  let text = "";
  const decoder = new TextDecoder();
  const blocks = () => text.split("\n\n").filter((block) => /^(id|data|event):/m.test(block));
  for await (const part of response.body ?? []) {
    text += decoder.decode(part as Uint8Array, { stream: true });
    if (text.endsWith("\n\n") && blocks().length >= count) break;
  }
  ending.abort();
  return blocks();
}

function storedIn(block: string): StoredEvent {
  return JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? "{}") as StoredEvent;
}

test("a stream goes on after the last event that was seen, and no event is missed or twice", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  for (let index = 1; index <= 5; index++) {
    server.events.publish({ topic: "alarm", text: `alarm ${index}` });
  }
  const reading = readEvents(server, "/api/v1/events", 4, 3);
  await server.fetch("/healthz"); // the stream is open by now, or reads the rest from the journal
  server.events.publish({ topic: "alarm", text: "alarm 6" });
  server.events.publish({ topic: "alarm", text: "alarm 7" });
  t.deepEqual(
    (await reading).map((block) => storedIn(block).id),
    [4, 5, 6, 7],
  );
});

test("only the topics that were asked for are sent", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  server.events.publish({ topic: "alarm", text: "one" });
  server.events.publish({ topic: "node", node: makeNode("a", "1") });
  const [block = ""] = await readEvents(server, "/api/v1/events?topics=node&after=0", 1);
  t.is(storedIn(block).event.topic, "node");
  t.is((await server.fetch("/api/v1/events?topics=colour", operator)).status, 400);
});

test("the load of a node is told while somebody reads it, and wanted no longer", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const [node] = server.store.nodes.list();
  const id = node?.id ?? ("" as NodeId);
  const load = {
    ...{ cpuPercent: 12.5, loadAverage: 0.3, memoryUsedMiB: 100, memoryMiB: 1000 },
    ...{ received: 1, sent: 2, uptimeSeconds: 60 },
  };
  t.is((await server.fetch("/api/v1/nodes/nobody/load", operator)).status, 404);
  t.false(server.watching.isWatched(id));
  const begun = new Promise<void>((resolve) =>
    server.watching.onBegin((watched) => {
      t.is(watched, id);
      resolve();
    }),
  );
  const reading = readEvents(server, `/api/v1/nodes/${node?.name}/load`, 1);
  await begun;
  server.watching.tell(id, load);
  const [block = ""] = await reading;
  t.deepEqual(JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? ""), {
    at: server.clock.now(),
    ...load,
  });
  await until(() => !server.watching.isWatched(id));
  t.pass("whoever hung up looks no more");
});

test("an id from another journal is answered with a reset", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const [block = ""] = await readEvents(server, "/api/v1/events", 1, 99);
  t.regex(block, /^event: reset$/m);
});

test("a snapshot holds what was published, and the id to go on from", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  server.events.publish({ topic: "alarm", text: "one" });
  const snapshot = (await (await server.fetch("/api/v1/snapshot", operator)).json()) as {
    lastEventId: number;
    nodes: unknown[];
  };
  t.is(snapshot.lastEventId, 1);
  t.is(snapshot.nodes.length, 8);
});

test("the OpenAPI document names every route once, with its parameters and its role", (t) => {
  const document = JSON.parse(JSON.stringify(openApiOf(apiRoutes))) as {
    openapi: string;
    paths: Record<
      string,
      Record<string, { operationId: string; parameters: { name: string; in: string }[] }>
    >;
  };
  t.is(document.openapi, "3.1.0");
  const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
  t.is(new Set(operations.map((one) => one.operationId)).size, apiRoutes.length);
  for (const [path, methods] of Object.entries(document.paths)) {
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    for (const { parameters } of Object.values(methods)) {
      const listed = parameters.filter((one) => one.in === "path").map((one) => one.name);
      t.deepEqual(listed, named, path);
    }
  }
});

test("metrics count nodes by state", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const text = await (await server.fetch("/metrics", operator)).text();
  t.regex(text, /^marcoboot_nodes\{state="ready"\} 8$/m);
});
